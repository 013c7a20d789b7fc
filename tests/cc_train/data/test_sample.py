"""The packaged sample is what its README says, and whole."""

from __future__ import annotations

import json
from pathlib import Path

import cc_train

SAMPLE = Path(cc_train.__file__).parent / "data" / "sample.jsonl"
ROWS = [json.loads(line) for line in SAMPLE.read_text("utf-8").splitlines()]


def test_it_has_as_many_rows_of_each_language() -> None:
    languages = [row["lang"] for row in ROWS]
    assert {language: languages.count(language) for language in languages} == dict.fromkeys(
        ["ar", "bn", "de", "en", "es", "fr", "ja", "ko", "pt", "ru", "sw", "te", "th", "tr", "vi", "zh"], 18
    )


def test_its_first_rows_are_of_different_languages() -> None:
    assert len({row["lang"] for row in ROWS[:16]}) == 16


def test_every_row_has_text_in_every_field_and_comes_from_mkqa_or_mgsm() -> None:
    for row in ROWS:
        assert set(row) == {"id", "task", "lang", "instruction", "instruction_en", "output"}
        assert all(value.strip() == value != "" for value in row.values())
        assert row["task"] in ("mkqa", "mgsm")
        assert row["id"].startswith(f"{row['task']}-{row['lang']}-")


def test_english_rows_are_their_own_parallel() -> None:
    for row in ROWS:
        assert (row["instruction"] == row["instruction_en"]) == (row["lang"] == "en")


def test_no_row_comes_twice() -> None:
    assert len({row["id"] for row in ROWS}) == len(ROWS)
