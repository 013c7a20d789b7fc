"""Prompts of all kinds, as `prompt_phrases.yaml` holds them, with the language that their writers would name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cc_core.language.detector import LanguageDetector

detector = LanguageDetector()
PROMPTS = yaml.safe_load((Path(__file__).parent / "prompt_phrases.yaml").read_text("utf-8"))
QUESTIONS: dict[str, str] = PROMPTS["questions"]
ALONE = [
    (text, None if language == "undecided" else language)
    for kind in PROMPTS["alone"].values()
    for language, texts in kind.items()
    for text in texts
]
AFTER = [(turn, before, language) for language, turns in PROMPTS["after a question"].items() for turn, before in turns]


@pytest.mark.parametrize("language", QUESTIONS)
@pytest.mark.parametrize("frame", PROMPTS["frames"])
def test_what_the_user_says_decides_in_any_frame(frame: str, language: str) -> None:
    for said in (QUESTIONS[language], PROMPTS["complaints"][language]):
        assert detector.detect(PROMPTS["frames"][frame].format(said)).language == language


@pytest.mark.parametrize(("text", "language"), ALONE)
def test_a_prompt_is_in_its_writers_language(text: str, language: str | None) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize(("turn", "before", "language"), AFTER)
def test_a_short_turn_is_understood_by_the_question_before(turn: str, before: str, language: str) -> None:
    assert detector.detect(turn, [QUESTIONS[before]]).language == language
