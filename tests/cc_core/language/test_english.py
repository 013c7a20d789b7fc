"""What an English paragraph beside a foreign one is for."""

from __future__ import annotations

import pytest

from cc_core.language.english import Use, asks, use_of


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("Translate into English", Use.TASK),
        ("What does this mean?", Use.TASK),
        ("Who wrote it?", Use.QUESTION),
        ("Answer the following question.", Use.FRAME),
        ("You are a helpful assistant.", Use.FRAME),
        ("Let's think step by step.", Use.FRAME),
        ("Here is a poem", Use.POINTER),
        ("All human beings are born free", Use.OTHER),
    ],
)
def test_the_use_is_told_by_words(text: str, use: Use) -> None:
    assert use_of(text) is use


@pytest.mark.parametrize("text", ["Ποιος;", "なに？", "من؟", "¿Qué?)", '"Wer?"'])
def test_a_question_ends_with_its_mark(text: str) -> None:
    assert asks(text)
    assert not asks(text + " a")
