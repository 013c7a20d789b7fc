"""``cc-train data check`` finds what it says it finds, and its exit code tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from cc_train.commands.main import main
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

GERMAN = "Bitte beantworten Sie die folgende Frage: Wie heißt die Hauptstadt von Deutschland?"
ENGLISH = "Please answer the following question: what is the capital city of Germany?"
GOOD = {"lang": "de", "task": "qa", "instruction": GERMAN, "instruction_en": ENGLISH, "output": "Berlin"}
BAD = [
    {**GOOD, "lang": "fr"},
    {**GOOD, "instruction": ENGLISH},
    {**GOOD, "instruction_en": GERMAN + " Danke!"},
    {**GOOD},
    {**GOOD, "output": ""},
    {**GOOD, "lang": "german"},
    {**GOOD, "lang": "sw", "task": "other", "instruction": "Tafadhali jibu swali hili: mji mkuu wa Ujerumani ni upi?"},
]


def check(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["data", "check", "--json", *map(str, arguments)])
    return code, json.loads(capsys.readouterr().out)


def test_rows_that_are_well_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [GOOD, {**BAD[-1]}])
    code, found = check(capsys, path)
    assert code == 0
    assert found["rows"] == {"de": {"qa": 1}, "sw": {"other": 1}}
    assert found["unit"] == "characters"
    assert found["lengths"]["output"] == {"50%": 6, "90%": 6, "99%": 6, "100%": 6}
    assert found["lengths"]["instruction"]["100%"] == len(GERMAN)


def test_what_is_wrong_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [GOOD, *BAD])
    code, found = check(capsys, path)
    assert code == 1
    assert found["suspects"] == {
        "lang is fr, and instruction looks like de": [f"{path}:2"],
        "instruction equals instruction_en": [f"{path}:3"],
        "instruction_en looks like de": [f"{path}:4"],
    }
    assert found["duplicates"] == [f"{path}:5"]
    assert found["dropped"] == {
        "field 'output' is empty": [f"{path}:6"],
        "field 'lang': 'german' is no ISO 639-1 code; did you mean 'de'?": [f"{path}:7"],
    }


def test_a_model_counts_tokens_and_tells_what_is_cut_and_what_has_no_room(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = [
        {**GOOD, "instruction": "a" * 10, "instruction_en": "b" * 5},
        {**GOOD, "instruction": "a" * 40, "instruction_en": "b" * 5},
        {**GOOD, "instruction": "a" * 10, "instruction_en": "b" * 50},
        {**GOOD, "instruction": "a" * 10, "output": "c" * 60},
    ]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    code, found = check(capsys, path, "--model", base, "--max-length", "30")
    assert code == 1
    assert found["unit"] == "tokens"
    assert found["lengths"]["instruction"] == {"50%": 14, "90%": 44, "99%": 44, "100%": 44}
    assert found["truncated"] == [f"{path}:2", f"{path}:3"]
    assert found["dropped"] == {"an answer of 61 tokens leaves no room for a prompt in max_length 30": [f"{path}:4"]}
    assert found["rows"] == {"de": {"qa": 3}}


def test_options_of_the_chat_template_count(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template += "{% if brief is defined %}alpha beta{% endif %}"
    tokenizer.save_pretrained(base)
    path = write_rows(tmp_path / "rows.jsonl", word_rows())
    without, brief = (
        check(capsys, path, "--model", base, *options)[1]["lengths"]["instruction"]["50%"]
        for options in ((), ("--chat-template-kwargs", '{"brief": true}'))
    )
    assert brief > without


def test_sentences_need_no_answers_where_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_rows(tmp_path / "sentences.jsonl", [{"en": ENGLISH, "de": GERMAN}])
    assert check(capsys, path)[0] == 2
    assert check(capsys, path, "--no-answers")[0] == 0


def test_without_a_connection_no_row_needs_its_english(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    path = write_rows(tmp_path / "rows.jsonl", [{"lang": "de", "instruction": GERMAN, "output": "Berlin"}])
    assert main(["data", "check", str(path)]) == 2
    assert "field 'instruction_en' is missing" in capsys.readouterr().err
    for options in ([], ["--model", base]):
        code, found = check(capsys, path, "--method", "sft", *options)
        assert (code, found["rows"]) == (0, {"de": {"": 1}})
        assert found["lengths"]["instruction_en"] == {}


def test_rows_that_are_all_in_english_train_no_connection(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    english = {"lang": "en", "instruction": ENGLISH, "output": "Berlin"}
    alone = write_rows(tmp_path / "english.jsonl", [english])
    mixed = write_rows(tmp_path / "mixed.jsonl", [english, GOOD])
    for arguments, expected in (
        ([alone], 1),
        ([alone, "--no-answers"], 1),
        ([mixed], 0),
        ([alone, "--method", "sft"], 0),
    ):
        code, found = check(capsys, *arguments)
        assert (code, found["unconnected"]) == (expected, bool(expected))
    assert main(["data", "check", str(alone)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "All rows are in English, and a connection is for other languages" in said
    assert "none is suspicious" not in said


def test_an_english_row_that_is_its_own_parallel_is_suspected_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    alone = {"lang": "en", "instruction": GERMAN, "output": "Berlin"}
    path = write_rows(tmp_path / "rows.jsonl", [GOOD, alone])
    assert check(capsys, path)[1]["suspects"] == {"lang is en, and instruction looks like de": [f"{path}:2"]}


def test_the_report_for_people(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", str(write_rows(tmp_path / "rows.jsonl", [GOOD, *BAD]))]) == 1
    said = capsys.readouterr().out
    for text in ("other", "by percentile", "suspicious: lang is fr, and instruction looks like de", "rows.jsonl:2"):
        assert text in said
    assert main(["data", "check", str(write_rows(tmp_path / "good.jsonl", [GOOD]))]) == 0
    assert "Every row is used" in capsys.readouterr().out


def test_what_cannot_be_checked_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = write_rows(tmp_path / "rows.jsonl", word_rows())
    (tmp_path / "empty.jsonl").write_text("")
    base = save_base(tmp_path / "base", tiny_llama())
    for arguments, message in (
        ([tmp_path / "none.jsonl"], "none.jsonl: cannot be read: No such file"),
        ([tmp_path / "empty.jsonl"], "empty.jsonl can be used: there is none"),
        ([good, "--model", tmp_path], "holds no tokenizer"),
        ([good, "--chat-template-kwargs", "{}"], "--chat-template-kwargs needs --model"),
        ([good, "--model", base, "--chat-template-kwargs", "{"], "--chat-template-kwargs: must be a JSON object"),
        ([good, "--model", base, "--chat-template-kwargs", '{"a": 1}'], "the chat template reads no option 'a'"),
        ([good, "--columns", "output=answer"], "field 'output' is missing (column 'answer')"),
    ):
        assert main(["data", "check", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
