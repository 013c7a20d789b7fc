"""Words that ask, in every language but English."""

from __future__ import annotations

from pathlib import Path

import pytest

import cc_core.language
from cc_core.language.detector import SERVED_LANGUAGES
from cc_core.language.requests import (
    asks,
    closing_language,
    holds_question_word,
    is_lone_request_of,
    is_question,
    is_request,
    is_request_of,
    is_text_task,
    lone_request_language,
    opening_language,
)

DATA = Path(cc_core.language.__file__).parent / "data"


@pytest.mark.parametrize("text", ["Ποιος;", "なに？", "من؟", "¿Qué?)", '"Wer?"'])
def test_a_question_ends_with_its_mark(text: str) -> None:
    assert asks(text)
    assert not asks(text + " a")


@pytest.mark.parametrize(
    ("text", "language"),
    [("Wie geht das", "de"), ("Jina lako ni nani", "sw"), ("এটা কী", "bn"), ("这是什么", "zh"), ("O que é isso", "pt")],
)
def test_a_question_is_known_by_its_words(text: str, language: str) -> None:
    assert is_question(text, language)
    assert not is_question(text, "en")
    assert holds_question_word(text, ["ru", language])


def test_a_relative_pronoun_asks_nothing() -> None:
    assert not is_question("Das ist so groß wie ein Haus", "de")
    assert not is_question("La casa que vi ayer", "es")


def test_tasks_on_a_text_are_requests_of_their_own() -> None:
    assert is_text_task("Fasse den Brief zusammen", "de")
    assert not is_text_task("Berechne 2+2", "de")
    assert is_request("Berechne 2+2")


def test_an_opening_needs_two_words() -> None:
    assert opening_language("was heißt it's raining") == "de"
    assert opening_language("resolve the conflict") is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("machine learning nedir?", "tr"),
        ("rock and roll ne demek", "tr"),
        ("machine learning zer da", "eu"),
        ("Barack Obama ni nani", "sw"),
        ("nedir machine learning", None),
        ("the end", None),
    ],
)
def test_a_request_at_the_end_names_its_language(text: str, language: str | None) -> None:
    assert closing_language(text) == language


def test_a_request_of_one_word_names_its_language_if_it_is_the_only_one() -> None:
    assert lone_request_language(" Reescribe ") == "es"
    assert lone_request_language("explique") is None
    assert lone_request_language("Reescribe esto") is None


def test_a_request_may_be_of_several_languages() -> None:
    assert all(is_lone_request_of(" Explique ", language) for language in ("es", "fr", "pt"))
    assert not is_lone_request_of("Explique", "de")
    assert not is_lone_request_of("Explique isto", "pt")
    assert is_request_of("Explique isto", "pt")


@pytest.mark.parametrize(
    "word", ["übersetz", "Übersetze", "ÜBERSETZEN", "hitung", "hitunglah", "gib-mir", "計算せ", "計算して"]
)
def test_requests_that_begin_alike_are_known_whole(word: str) -> None:
    assert is_request(word)
    assert is_request(f"(1) {word}: x")


@pytest.mark.parametrize("word", ["übersetzt", "übers", "hitungl", "gib", "因数分"])
def test_a_part_of_a_request_is_none(word: str) -> None:
    assert not is_request(word)


@pytest.mark.parametrize("name", ["requests.txt", "questions.txt", "text_tasks.txt"])
def test_every_served_language_but_english_has_its_words(name: str) -> None:
    lines = (DATA / name).read_text("utf-8").splitlines()
    listed = [line.partition(": ")[0] for line in lines if not line.startswith("#")]
    assert listed == sorted({*SERVED_LANGUAGES} - {"en"})
