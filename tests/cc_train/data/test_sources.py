"""Rows come from every format that people have them in, and what cannot be read says why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cc_train.data.reading import read_rows
from cc_train.data.records import DataError
from cc_train.data.sources import Source, parse_columns, parse_sources
from tests.support.tiny_tokenizer import word_rows, write_rows

ROWS = word_rows(["de", "sw"], copies=1)


def texts(source: Path | str) -> list[tuple[str, str, str]]:
    rows, skipped = read_rows([source])
    assert skipped == []
    return [(row.lang, row.instruction_en, row.output) for row in rows]


EXPECTED = [(row["lang"], row["instruction_en"], row["output"]) for row in ROWS]


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.data")
    assert texts(tmp_path / "rows.data") == EXPECTED
    rows, _ = read_rows([tmp_path / "rows.data"])
    assert rows[3].name == f"{tmp_path / 'rows.data'}:4 (de-delta-0)"


def test_a_directory_of_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", ROWS[:5])
    (tmp_path / "deeper").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS[5:]), tmp_path / "deeper" / "b.parquet")
    (tmp_path / "README.md").write_text("no rows")
    assert texts(tmp_path) == EXPECTED
    rows, _ = read_rows([tmp_path])
    assert {row.file for row in rows} == {str(tmp_path / "a.jsonl"), str(tmp_path / "deeper" / "b.parquet")}


def test_a_dataset_saved_on_disk(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    dataset.save_to_disk(tmp_path / "one")
    assert texts(tmp_path / "one") == EXPECTED
    with pytest.raises(DataError, match=r"one#test: is one dataset without splits; name it as .*one"):
        read_rows([f"{tmp_path / 'one'}#test"])
    parts = datasets.DatasetDict({"train": dataset.select(range(3)), "test": dataset.select([4])})
    parts.save_to_disk(tmp_path / "parts")
    assert texts(tmp_path / "parts") == EXPECTED[:3], "train, where nothing else is asked for"
    assert texts(f"{tmp_path / 'parts'}#test") == EXPECTED[4:5]
    with pytest.raises(DataError, match=r"parts#dev: has the splits train, test; name one with .*parts#SPLIT"):
        read_rows([f"{tmp_path / 'parts'}#dev"])


def test_what_is_no_file_is_a_dataset_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub itself is out of reach of tests."""
    asked: list[tuple[str, str | None]] = []

    def load_dataset(name: str, configuration: str | None = None) -> datasets.DatasetDict:
        asked.append((name, configuration))
        if name == "someone/none":
            raise datasets.exceptions.DatasetNotFoundError("Dataset 'someone/none' doesn't exist\non the Hub")
        rows = datasets.Dataset.from_list(ROWS)
        return datasets.DatasetDict({"validation": rows, **({"test": rows.select([4])} if configuration else {})})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert texts("someone/pairs") == EXPECTED
    assert texts("someone/pairs:en-sw#test") == EXPECTED[4:5]
    assert asked == [("someone/pairs", None), ("someone/pairs", "en-sw")]
    with pytest.raises(DataError, match=r"has the splits validation, test; name one with someone/pairs:en-sw#SPLIT"):
        read_rows(["someone/pairs:en-sw"])
    with pytest.raises(
        DataError, match=r"someone/none: no such file, and a dataset of this id cannot be loaded: .*Hub"
    ):
        read_rows(["someone/none"])


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    payload = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(payload[:200])
    for name, message in (
        ("none.jsonl", "none.jsonl: cannot be read: No such file"),
        ("none.parquet", "none.parquet: cannot be read: No such file"),
        ("empty", "empty: holds no .jsonl"),
        ("cut.parquet", "cut.parquet: cannot be read after row 0: "),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read_rows([tmp_path / name])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a.jsonl"], [("a.jsonl", 1.0)]),
        (["a.jsonl=0.3", "b/c:d#train=2"], [("a.jsonl", 0.3), ("b/c:d#train", 2.0)]),
        (['{"a.jsonl": 0.3, "b.jsonl": 1}'], [("a.jsonl", 0.3), ("b.jsonl", 1.0)]),
    ],
)
def test_weights_are_told_from_names(given: list[str], expected: list[tuple[str, float]]) -> None:
    assert [(source.name, source.weight) for source in parse_sources(given)] == expected


def test_a_file_with_an_equals_sign_is_a_file(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a=2", ROWS)
    assert parse_sources([path]) == [Source(str(path))]


@pytest.mark.parametrize("given", ["a.jsonl=lots", "a.jsonl=0", "a.jsonl=-1", "a.jsonl=nan", "a.jsonl=inf"])
def test_a_weight_is_a_number_above_0(given: str) -> None:
    with pytest.raises(DataError, match="weight"):
        parse_sources([given])


def test_a_weight_says_how_often_a_row_is_used(tmp_path: Path) -> None:
    path = str(write_rows(tmp_path / "rows.jsonl", ROWS))
    counts = [Counter(row.line for row in read_rows([Source(path, weight)])[0]) for weight in (0.25, 1, 2.5)]
    assert [sum(count.values()) for count in counts] == [4, 16, 40]
    assert set(counts[2].values()) == {2, 3}
    chosen = {seed: [row.line for row in read_rows([Source(path, 0.25)], seed=seed)[0]] for seed in (0, 0, 1)}
    assert chosen[0] != chosen[1]


def test_columns_are_given_either_way() -> None:
    assert parse_columns("lang=language, output=answer") == {"lang": "language", "output": "answer"}
    assert parse_columns('{"lang": "language"}') == {"lang": "language"}
    assert parse_columns(None) == {}
    with pytest.raises(DataError, match="--columns lang: is not FIELD=COLUMN"):
        parse_columns("lang")


def test_other_names_of_columns(tmp_path: Path) -> None:
    renamed = [
        {"language": r["lang"], "q": r["instruction"], "en": r["instruction_en"], "a": r["output"]} for r in ROWS
    ]
    path = write_rows(tmp_path / "rows.jsonl", renamed)
    columns = {"lang": "language", "instruction": "q", "instruction_en": "en", "output": "a"}
    rows, _ = read_rows([path], columns)
    assert [(row.lang, row.instruction_en, row.output) for row in rows] == EXPECTED
    with pytest.raises(DataError, match=r"--columns: 'outptu' is no field of a row; did you mean output\?"):
        read_rows([path], {"outptu": "a"})


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"lang": "de", "question": "Wort?", "output": "beta"}] * 3)
    with pytest.raises(
        DataError, match=r"field 'instruction' is missing in a row of 'lang', 'question', 'output'; name"
    ):
        read_rows([path])
    with pytest.raises(DataError, match=r"field 'output' is missing \(column 'answer'\)"):
        read_rows([write_rows(tmp_path / "other.jsonl", ROWS)], {"output": "answer"})


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(None)[:0])
    rows, skipped = read_rows([tmp_path / "rows.jsonl"])
    assert (list(rows), skipped) == ([], [])
