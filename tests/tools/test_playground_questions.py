"""The playground's copy of the sample's questions is still what the sample has."""

from __future__ import annotations

from tools.playground_questions import QUESTIONS, questions


def test_the_copy_is_what_the_sample_has() -> None:
    assert QUESTIONS.read_text("utf-8") == questions(), "run: python -m tools.playground_questions"
