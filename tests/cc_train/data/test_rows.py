"""A record becomes one row, or one for each language, or says why not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cc_train.data.checks import UnusableError
from cc_train.data.records import Record
from cc_train.data.rows import rows_of

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
        (
            [{"role": "bot", "content": "a"}],
            "'messages[0].role' is none of system, user, assistant, tool (found 'bot')",
        ),
        ([{"role": "user"}], "field 'messages[0].content' is not a string (found None)"),
        ([{"role": "assistant", "content": "a", "tool_calls": [{}]}], "calls of tools cannot be trained"),
        ("[{", "field 'messages' is not a list of messages (not JSON"),
        ([{"role": "user", "content": [{"type": "image"}]}], "has a part of type 'image'; only text can be trained on"),
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


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"de-DE": "Eins"}, ": 'de-DE' is no ISO 639-1 code; did you mean 'de'?"),
        ({"url": "example.org", "zho_Hans": "一"}, ": 'zho_Hans' is no ISO 639-1 code; did you mean 'zh'?"),
        ({"de": None, "url": "example.org"}, ""),
    ],
)
def test_a_sentence_in_english_alone_is_no_pair(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableError) as caught:
        rows({"en": "One", **fields}, answers=False)
    assert str(caught.value) == f"no field has the sentence in another language{words}"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"de": "Eins", "fr": "Un"}, "field 'en' with the English sentence is missing"),
        (
            {"id": 1, "deu_Latn": "Eins", "eng_Latn": "One"},
            "field 'en' with the English sentence is missing: 'eng_Latn' is no ISO 639-1 code; did you mean 'en'?",
        ),
        ({"id": 1, "de": "Eins", "text": "Un"}, "field 'lang' is missing"),
    ],
)
def test_a_sentence_without_english_is_no_pair(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableError) as caught:
        rows(fields, answers=False)
    assert str(caught.value) == words


def test_an_answer_is_needed_to_train_only() -> None:
    without = {name: value for name, value in PAIR.items() if name != "output"}
    assert rows(without, answers=False)[0].output == ""
    assert rows(PAIR, answers=False)[0].output == "beta"
    with pytest.raises(UnusableError, match="field 'output' is missing"):
        rows(without)


def test_other_formats_of_a_conversation_are_read_alike() -> None:
    """Roles of `from` and `value`, parts of a content, and a cell of a table with the list as JSON."""
    shared = [{"from": "human", "value": "Hallo"}, {"from": "gpt", "value": "Ja?"}, {"from": "human", "value": "Wort?"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "Wo"}, {"type": "text", "text": "rd?"}]}]
    (row,) = rows({"lang": "de", "messages": json.dumps([*shared, ANSWER]), "messages_en": parts, "output": ""})
    (same,) = rows({"lang": "de", "messages": [*TURNS, ANSWER], "messages_en": ENGLISH})
    assert row == same


def test_a_prompt_may_end_with_what_a_tool_said() -> None:
    tool = {"role": "tool", "content": "42"}
    (row,) = rows({"lang": "de", "messages": [*TURNS, tool, ANSWER], "messages_en": [*TURNS, tool]})
    assert (row.messages[-1], row.instruction, row.output) == (("tool", "42"), "42", "beta")


def test_every_answer_of_a_conversation_can_get_a_row() -> None:
    english = [*ENGLISH, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "More?"}]
    given = {"lang": "de", "messages": [*TURNS, ANSWER], "messages_en": english}
    first, second = rows(given, all_turns=True)
    assert (first.messages, first.messages_en, first.output) == ((("user", "Hallo"),), (("user", "Word?"),), "Ja?")
    assert [second] == rows(given)
    with pytest.raises(UnusableError, match="do not have the same turns"):
        rows({**given, "messages_en": ENGLISH}, all_turns=True)
    assert [row.output for row in rows(given, all_turns=True, parallels=False)] == ["Ja?", "beta"]


def test_an_input_joins_its_instruction_in_both_languages() -> None:
    given = {**PAIR, "input": "rot, blau", "input_en": "red, blue"}
    (row,) = rows(given)
    assert (row.instruction, row.instruction_en) == ("Wort?\nrot, blau", "Word?\nred, blue")
    assert rows({**given, "input": "", "input_en": ""}) == rows(PAIR)
    with pytest.raises(UnusableError, match="field 'input_en' is missing"):
        rows({**PAIR, "input": "rot"})
    (english,) = rows({"lang": "en", "instruction": "Word?", "input": "red", "output": "beta"})
    assert english.instruction == english.instruction_en == "Word?\nred"


def test_the_text_tells_which_of_several_codes_was_meant() -> None:
    for lang, text, meant in (
        ("in", "Apa ibu kota Indonesia dan berapa banyak orang yang tinggal di sana?", "did you mean 'id'?"),
        ("in", "भारत की राजधानी क्या है और वहाँ कितने लोग रहते हैं?", "did you mean 'hi'?"),
        ("xx", "Wie heißt die Hauptstadt von Deutschland?", "the text looks like 'de'"),
    ):
        with pytest.raises(UnusableError, match=re.escape(meant)):
            rows({**PAIR, "lang": lang, "instruction": text})
