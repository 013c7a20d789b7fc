"""What an English paragraph beside a foreign one is for."""

from __future__ import annotations

import pytest

from cc_core.language.english import Use, before_name, closes_in_english, use_of


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("Translate into English", Use.TASK),
        ("What does this mean?", Use.TASK),
        ("Who wrote it?", Use.QUESTION),
        ("You are a linguist. Translate the following text.", Use.TASK),
        ("Give me a short summary of this", Use.TASK),
        ("Is this sentence correct?", Use.TASK),
        ("You are a grammar teacher.", Use.FRAME),
        ("Summarize your answer in one sentence.", Use.FRAME),
        ("May I ask you something?", Use.FRAME),
        ("Do you know?", Use.FRAME),
        ("The Bible was translated into German.", Use.OTHER),
        ("Answer the following question.", Use.FRAME),
        ("You are a helpful assistant.", Use.FRAME),
        ("Let's think step by step.", Use.FRAME),
        ("Here is a poem", Use.POINTER),
        ("Read the message below", Use.POINTER),
        ("Digest the following", Use.POINTER),
        ("I want this in a table", Use.POINTER),
        ("What did he order? Answer with a number.", Use.QUESTION),
        ("This message was recorded.", Use.REMARK),
        ("[Voice message from the phone]", Use.REMARK),
        ("Sorry for the long text.", Use.REMARK),
        ("Put it all in the first sentence.", Use.OTHER),
        ("All human beings are born free", Use.OTHER),
    ],
)
def test_the_use_is_told_by_words(text: str, use: Use) -> None:
    assert use_of(text) is use


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("the capital of Côte d'Ivoire", "the capital of "),
        ("distance from Köln to Zürich", "distance from "),
        ("history of Việt Nam", "history of "),
        ("Erdoğan", None),
        ("the price of bread", None),
        ("weather in Ciudad de México tomorrow", "weather in "),
        ("news from Türkiye next week", "news from "),
        ("the weather in the mountains tomorrow", None),
    ],
)
def test_what_stands_before_a_name(text: str, before: str | None) -> None:
    assert before_name(text) == before


def test_questions_about_names_end_in_english() -> None:
    assert closes_in_english("jambo means what?")
    assert closes_in_english("merci beaucoup in English")
    assert closes_in_english("gracias in Japanese?")
    assert not closes_in_english("means what it says")
    assert not closes_in_english("lyrics")
    assert not closes_in_english("wohnt in Japan")
