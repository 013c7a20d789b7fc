"""An instruction before a colon, and what it is about."""

from __future__ import annotations

import pytest

from cc_core.language.colon import read_around_colon
from cc_core.language.detection import Detection, Reading
from cc_core.language.detector import LanguageDetector

detector = LanguageDetector()
LONG = Reading(Detection("en", 0.99), 30)


@pytest.mark.parametrize(
    "text",
    [
        "Rephrase: Ich habe gestern das Auto gewaschen.",
        "Shorten: El presidente anunció ayer una nueva ley.",
        "TL;DR: Gestern hat der Bundestag ein neues Gesetz beschlossen, das die Mieten begrenzen soll.",
        "TLDR: Hôm qua chính phủ đã công bố một chính sách mới.",
        "Key takeaways from: El presidente anunció ayer una nueva ley para limitar los alquileres.",
        "Main points from: Jana serikali ilitangaza sera mpya ya elimu.",
        "Rewrite: Barack Obama",
    ],
)
def test_a_lone_english_task_decides(text: str) -> None:
    assert detector.detect(text).language == "en"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Reformuliere: I am tired", "de"),
        ("Edit: hat sich erledigt, danke", None),
        ("Berlin: Ich habe gestern das Auto gewaschen.", "de"),
        ("Bullet points: Gestern hat der Bundestag ein neues Gesetz beschlossen.", "de"),  # taste: a label
    ],
)
def test_no_other_word_is_a_task(text: str, language: str | None) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Explique: Je ne comprends pas cette longue phrase.", "fr"),
        ("Explique: Não sei o que isto quer dizer.", "pt"),
        ("explique : No sé qué quiere decir esto.", "es"),
        ("Explique ce texte: Não sei o que isto quer dizer.", "fr"),
        ("Explique: Ich weiß nicht, was das bedeutet.", "fr"),  # one of its languages, if the text is in none
        ("Traduce: Je ne comprends pas cette longue phrase.", "es"),
        ("Reescribe: x^2 = 4", "es"),
        ("Definiere: 3! / 2!", "de"),
    ],
)
def test_a_word_of_several_languages_is_in_that_of_the_text(text: str, language: str) -> None:
    assert detector.detect(text).language == language


def test_a_colon_that_divides_nothing_tells_nothing() -> None:
    assert read_around_colon("Wo ist das", lambda text: LONG) is None
    assert read_around_colon("Summarize this: all of it", lambda text: LONG) is None


def test_the_text_that_was_read_is_the_users_own() -> None:
    assert detector.detect("Rephrase: Ich habe gestern das Auto gewaschen.").text == "Rephrase"
