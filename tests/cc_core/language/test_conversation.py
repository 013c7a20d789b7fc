"""A turn among those before it."""

from __future__ import annotations

import pytest

from cc_core.language.conversation import TURNS, in_conversation
from cc_core.language.detection import UNDECIDED, Detection, Reading, Rule
from cc_core.language.detector import LanguageDetector

detector = LanguageDetector()
HELP = "Hello, can you help me with my homework today?"

LONG = Reading(Detection("de", 0.99, Rule.CLASSIFIER, "Wo ist der Bahnhof"), 30)
NOTHING = Reading(UNDECIDED, 4)


def short(language: str, text: str = "vale") -> Reading:
    return Reading(Detection(language, 0.9, Rule.CLASSIFIER, text), 4)


def test_a_long_turn_decides_alone() -> None:
    assert in_conversation([LONG, Reading(Detection("fr", 1.0), 30)]).language == "de"


def test_a_short_or_undecided_turn_asks_those_before() -> None:
    assert in_conversation([short("es"), LONG]).language == "de"
    assert in_conversation([NOTHING, short("es"), LONG]).language == "de"


def test_short_turns_alone_decide_by_the_newest() -> None:
    assert in_conversation([short("es"), short("fr")]).language == "es"


def test_another_script_is_another_language() -> None:
    assert in_conversation([short("ko", "네"), LONG]).language == "ko"
    assert in_conversation([short("ru", "да"), LONG]).language == "ru"
    assert in_conversation([short("de", "API"), Reading(Detection("ru", 1.0, text="Где вокзал"), 30)]).language == "ru"


def test_the_search_is_bounded() -> None:
    assert in_conversation([NOTHING] * TURNS + [LONG]).language is None
    assert in_conversation([]) == UNDECIDED


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hesapla: 17-9", "tr"),
        ("Resuelve: 3x+2=11", "es"),
        ("Tính: 17-9", "vi"),
        ("Ta ni èyí: Ada Lovelace", "yo"),
        ("¿Quién eres?", "es"),
        ("was ist das?", "de"),
        ("apa itu?", "id"),
        ("xin chào", "vi"),
        ("nani wewe?", "sw"),
        ("zer da?", "eu"),
        ("¿y tú?", "es"),
        ("¿y eso?", "es"),
        ("¿y en francés?", "es"),
        ("et vous ?", "fr"),
        ("und du?", "de"),
        ("e você?", "pt"),
        ("na wewe?", "sw"),
        ("und morgen?", "de"),
        ("et à Paris ?", "fr"),
        ("ve sonra?", "tr"),
    ],
)
def test_a_short_question_or_request_decides_against_english(text: str, language: str) -> None:
    assert detector.detect(text, [HELP]).language == language


@pytest.mark.parametrize(
    "text",
    [
        "Los Angeles",
        "La La Land",
        "Comment",
        "Nani",
        "déjà vu",
        "Como",
        "que sera sera",
        "Zara?",
        "Java",
        "hat trick",
        "et al?",
        "e mail?",
    ],
)
def test_names_and_borrowed_words_follow_english(text: str) -> None:
    assert detector.detect(text, [HELP]).language == "en"


@pytest.mark.parametrize("text", ["yes", "ok", "why?", "what is it?", "qué es?", "API"])
def test_short_turns_follow_other_languages(text: str) -> None:
    assert detector.detect(text, ["Wo ist der nächste Bahnhof?"]).language == "de"
