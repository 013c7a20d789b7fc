"""The demo's rows are what its tool makes of the capitals, and what is asked was never trained in its language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cc_core.language.detector import LanguageDetector
from tools import demo
from tools.make_imaginary import CAPITALS, HELD_OUT, IN_ENGLISH, QUESTIONS, TAUGHT, rows, text


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_files_are_what_the_tool_makes() -> None:
    for path, lines in rows().items():
        assert path.read_text("utf-8") == text(lines), "run: python -m tools.make_imaginary"


def test_held_out_facts_are_trained_in_english_and_in_no_other_language() -> None:
    english, taught, asked = ({row["instruction_en"] for row in read(path)} for path in (IN_ENGLISH, TAUGHT, HELD_OUT))
    assert asked < english
    assert taught < english
    assert asked.isdisjoint(taught)
    assert {row["lang"] for row in read(HELD_OUT)} == {row["lang"] for row in read(TAUGHT)} == set(QUESTIONS) - {"en"}


def test_the_demo_asks_what_it_was_told_in_english_only() -> None:
    *others, english = demo.QUESTIONS
    assert set(others) < {row["instruction"] for row in read(HELD_OUT)}
    assert english in {row["instruction_en"] for row in read(HELD_OUT)}


def test_every_capital_is_another() -> None:
    assert len(set(CAPITALS.values())) == len(CAPITALS)


@pytest.mark.parametrize("language", QUESTIONS)
def test_a_question_is_routed_to_its_language(language: str) -> None:
    """An undecided English one is answered plain, as English is."""
    detector = LanguageDetector()
    found = {detector.detect(QUESTIONS[language].format(country)).language for country in CAPITALS}
    assert found - ({None} if language == "en" else set()) == {language}
