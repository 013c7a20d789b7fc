"""Words and n-grams together tell neighbours apart, and an English title from an English question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.classifier import classifier
from cc_core.language.scripts import ARABIC, CYRILLIC, DEVANAGARI, LATIN, SCRIPTS, Script


def best(script: Script, text: str) -> str | None:
    candidates = classifier(script).rank(text, 3).candidates
    return candidates[0][0] if candidates else None


@pytest.mark.parametrize(
    ("script", "text", "language"),
    [
        (DEVANAGARI, "तुम्ही कसे आहात", "mr"),
        (DEVANAGARI, "तपाईं कस्तो हुनुहुन्छ", "ne"),
        (DEVANAGARI, "आपका नाम क्या है", "hi"),
        (CYRILLIC, "Що це таке і як це працює", "uk"),
        (CYRILLIC, "Что это такое и как это работает", "ru"),
        (ARABIC, "این چیست و چگونه کار می‌کند", "fa"),
        (ARABIC, "یہ کیا ہے اور کیسے کام کرتا ہے", "ur"),
        (ARABIC, "ما هذا وكيف يعمل", "ar"),
        (LATIN, "aap kaise hain", "hi-Latn"),
        (LATIN, "como esta voce hoje", "pt"),
        (LATIN, "toi muon biet ban la ai", "vi"),
        (LATIN, "come stai oggi amico mio", "it"),
    ],
)
def test_neighbours_are_told_apart(script: Script, text: str, language: str) -> None:
    assert best(script, text) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("wer sang the house of the rising sun", "de"),
        ("quem cantou the house of the rising sun", "pt"),
        ("ai hát the house of the rising sun", "vi"),
        ("chi ha scritto the house of the rising sun", "it"),
        ("who sang the house of the rising sun", "en"),
        ("the house of the rising sun kim söylüyor", None),
        ("Dan and his mother went to the market", "en"),
    ],
)
def test_english_in_a_question_is_a_title(text: str, language: str | None) -> None:
    assert best(LATIN, text) in ((language, "ca") if language == "it" else (language,))


TAIL = "Let's go through it one step at a time so that we can be sure about the answer in the end"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Ich suche ein einfaches Rezept ohne Fleisch", "de"),
        ("Mi móvil no carga desde ayer por la noche", "es"),
        ("Nahitaji njia rahisi ya kupika dengu bila nyama", "sw"),
        ("Telefonum dünden beri şarj olmuyor, ne yapayım", "tr"),
        ("La Casa de Papel is a series that I have not watched yet.", "en"),
        ("Der Spiegel is a magazine that I have never read before.", "en"),
        ("Dan and his mother went to the market in the morning.", "en"),
    ],
)
def test_a_long_english_tail_without_a_mark_does_not_decide(text: str, language: str) -> None:
    assert best(LATIN, f"{text} {TAIL}") == language


def test_an_answer_is_a_served_language_and_its_probability() -> None:
    ranking = classifier(LATIN).rank("come stai oggi amico mio", 3)
    assert ranking.language in LATIN.languages
    assert ranking.probability < 0.5 < ranking.candidates[0][1]
    assert len(ranking.candidates) == 3


@given(st.text(st.characters(codec=None), max_size=200), st.sampled_from([s for s in SCRIPTS if s.neighbours]))
def test_any_text_is_ranked(text: str, script: Script) -> None:
    ranking = classifier(script).rank(text, 3)
    shares = [share for _, share in ranking.candidates]
    assert shares == sorted(shares, reverse=True)
    assert 0 <= ranking.probability <= 1
    assert ranking.language in ("", *script.languages)
