"""A record becomes one row, or one for each language, or says why not."""

from __future__ import annotations

from typing import Any

import pytest

from cc_train.data.rows import UnusableError, rows_of
from cc_train.data.sources import Record

PAIR = {"lang": "de", "instruction": "Wort?", "instruction_en": "Word?", "output": "beta"}
TURNS = [
    {"role": "user", "content": "Hallo"},
    {"role": "assistant", "content": "Ja?"},
    {"role": "user", "content": "Wort?"},
]
ENGLISH = [{"role": "user", "content": "Word?"}]
ANSWER = {"role": "assistant", "content": "beta"}


def rows(fields: dict[str, Any], **options: Any) -> list[Any]:
    return rows_of(Record(7, fields), {}, "f", **options)


def test_a_conversation_and_its_parallel() -> None:
    (row,) = rows({"lang": "de", "messages": [*TURNS, ANSWER], "messages_en": [*ENGLISH, ANSWER]})
    assert row.messages == (("user", "Hallo"), ("assistant", "Ja?"), ("user", "Wort?"))
    assert row.messages_en == (("user", "Word?"),)
    assert (row.instruction, row.instruction_en, row.output, row.line) == ("Wort?", "Word?", "beta", 7)
    (apart,) = rows({"lang": "de", "messages": TURNS, "messages_en": ENGLISH, "output": "beta"})
    assert apart == row


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("Hallo", "field 'messages' is not a list of messages (found 'Hallo')"),
        ([], "field 'messages' is not a list of messages"),
        ([{"role": "human", "content": "a"}], "'messages[0].role' is none of system, user, assistant (found 'human')"),
        ([{"role": "user", "content": [{"type": "image"}]}], "field 'messages[0].content' is not a string"),
        ([{"role": "user", "content": " "}], "field 'messages[0].content' is empty"),
        ([{"role": "system", "content": "a"}], "field 'messages' does not end with a user's turn"),
        ([ANSWER], "field 'messages' does not end with a user's turn"),
    ],
)
def test_a_conversation_that_cannot_be_used(messages: Any, problem: str) -> None:
    with pytest.raises(UnusableError) as caught:
        rows({"lang": "de", "messages": messages, "messages_en": ENGLISH, "output": "beta"})
    assert problem in str(caught.value)
    with pytest.raises(UnusableError, match="field 'messages_en' is missing"):
        rows({"lang": "de", "messages": TURNS, "output": "beta"})


def test_only_a_row_in_another_language_needs_its_english_parallel() -> None:
    without = {"lang": "en", "instruction": "Word?", "output": "beta"}
    for fields in (without, {**without, "instruction_en": None}, {**without, "instruction_en": ""}):
        assert rows(fields)[0].instruction_en == "Word?"
    assert rows({**without, "instruction_en": "Which?"})[0].instruction_en == "Which?"
    (talk,) = rows({"lang": "en", "messages": [*TURNS, ANSWER]})
    assert (talk.messages_en, talk.instruction_en) == (talk.messages, "Wort?")
    with pytest.raises(UnusableError, match="field 'instruction_en' is missing"):
        rows({**without, "lang": "de"})


@pytest.mark.parametrize("english", [{}, {"instruction_en": " ", "messages_en": 3}])
def test_without_a_connection_no_row_needs_one(english: dict[str, Any]) -> None:
    (row,) = rows({"lang": "de", "instruction": "Wort?", "output": "beta", **english}, parallels=False)
    assert (row.instruction, row.instruction_en) == ("Wort?", "")
    (talk,) = rows({"lang": "de", "messages": [*TURNS, ANSWER], **english}, parallels=False)
    assert (talk.instruction, talk.instruction_en, talk.messages_en) == ("Wort?", "", ())


def test_an_aligned_sentence_is_a_pair_for_each_language() -> None:
    fields = {"id": "Satu dua", "en": "One", "de": "Eins", "sw": "Moja", "fr": None, "source": "news", "zz": "?"}
    found = rows(fields, answers=False)
    assert [(row.lang, row.instruction, row.instruction_en, row.output) for row in found] == [
        ("id", "Satu dua", "One", ""),
        ("de", "Eins", "One", ""),
        ("sw", "Moja", "One", ""),
    ]
    assert [row.lang for row in rows({**fields, "id": "news-12"}, answers=False)] == ["de", "sw"], "not Indonesian"
    assert [row.lang for row in rows({**fields, "id": 12}, answers=False)] == ["de", "sw"]
    with pytest.raises(UnusableError, match="has no answer to train on; cc-train fit can use it"):
        rows(fields)


def test_an_answer_is_needed_to_train_only() -> None:
    without = {name: value for name, value in PAIR.items() if name != "output"}
    assert rows(without, answers=False)[0].output == ""
    assert rows(PAIR, answers=False)[0].output == "beta"
    with pytest.raises(UnusableError, match="field 'output' is missing"):
        rows(without)
