"""Rows as they are read and chosen, and what is said of bad ones."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cc_train.evaluation.items import EvaluationError, choose_rows, read_rows
from tests.support.tiny_tokenizer import write_rows


def row(**fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "task": "mkqa",
        "lang": "de",
        "instruction": "Wer?",
        "instruction_en": "Who?",
        "answers": ["Ray"],
        **fields,
    }


def test_benchmark_rows_and_training_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    trained = {"lang": "sw", "instruction": "Nani?", "instruction_en": "Who?", "output": "Ray"}
    path.write_bytes(
        gzip.compress("\n\n".join(map(json.dumps, [row(), trained, {**trained, "task": "qa", "id": "q"}])).encode())
    )
    first, second, third = read_rows([path], task="mgsm")
    assert (first.key, first.references) == ("mkqa/de/1", ("Ray",))
    assert second.task == "mgsm"
    assert second.references == ("Ray",)
    assert second.key == f"mgsm/sw/{second.digest}", "named by its prompt"
    assert first.item == second.item, "parallels"
    assert third.key == "mgsm/sw/q"


@pytest.mark.parametrize(
    ("fields", "prompt", "english"),
    [
        ({"input": "A oder B"}, "Wer?\nA oder B", ""),
        ({"input": "A oder B", "input_en": "A or B"}, "Wer?\nA oder B", "Who?\nA or B"),
        ({"input": "", "input_en": ""}, "Wer?", "Who?"),
        ({"input": None}, "Wer?", "Who?"),
    ],
)
def test_an_input_joins_its_instruction_as_in_training(
    tmp_path: Path, fields: dict[str, Any], prompt: str, english: str
) -> None:
    (found,) = read_rows([write_rows(tmp_path / "rows.jsonl", [row(**fields)])])
    assert (found.prompt, found.english) == (prompt, english)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"task": None}, "unknown task None; there are: xnli"),
        ({"task": ["mkqa"]}, "unknown task ['mkqa']; there are: xnli"),
        (
            {"task": "squad"},
            "unknown task 'squad'; there are: xnli, xstorycloze, mmmlu, mkqa, xquad, xlsum, mgsm; --task",
        ),
        ({"lang": "German"}, "field 'lang': 'German' is no ISO 639-1 code; did you mean 'de'?"),
        ({"lang": "jp"}, "field 'lang': 'jp' is no ISO 639-1 code; did you mean 'ja'?"),
        ({"lang": 3}, "field 'lang' is not a string (found 3)"),
        ({"instruction": " "}, "field 'instruction' is missing or empty"),
        ({"answers": "Ray"}, "neither 'answers' (a list of texts) nor 'output' (a text) says what is right"),
        ({"answers": []}, "neither 'answers'"),
        ({"answers": [""]}, "neither 'answers'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row(), row(id="2", **fields)])
    with pytest.raises(EvaluationError) as error:
        read_rows([path])
    assert f"{path}:2: {problem}" in str(error.value)


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row()] * 8)
    with pytest.raises(EvaluationError, match=r"'mkqa/de/1' is there twice(.|\n)*and 2 more"):
        read_rows([path])


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "no rows"), (b"\x1f\x8bbroken", "cannot be read"), (b"[]", "no rows"), (b"[1]", "not a JSON object")],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match=problem):
        read_rows([path])


def test_the_formats_of_a_run_are_read(tmp_path: Path) -> None:
    rows = [row(), row(id="2", answers=["Ray", "Ray Charles"])]
    wanted = read_rows([write_rows(tmp_path / "rows.jsonl", rows)])
    (tmp_path / "rows.json").write_text(json.dumps(rows), "utf-8")
    cells = [{name: value if isinstance(value, str) else json.dumps(value) for name, value in r.items()} for r in rows]
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(cells[0]))
        table.writeheader()
        table.writerows(cells)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for name in ("rows.json", "rows.csv", "rows.parquet"):
        assert read_rows([tmp_path / name]) == wanted, name


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"none\.jsonl: cannot be read: No such file"):
        read_rows([tmp_path / "none.jsonl"])


def items(tmp_path: Path) -> Path:
    return write_rows(
        tmp_path / "items.jsonl",
        [
            row(id=str(number), task=task, lang=language, instruction_en=f"Who {number}?")
            for task in ("mkqa", "xquad")
            for language in ("de", "sw")
            for number in range(10)
        ],
    )


def test_a_limit_keeps_parallels_together(tmp_path: Path) -> None:
    rows = read_rows([items(tmp_path)])
    chosen = choose_rows(rows, limit=3)
    assert len(chosen) == 3 * 2 * 2
    assert len({(r.task, r.item) for r in chosen}) == 6
    assert chosen == choose_rows(rows, limit=3), "the same each time"
    assert chosen != choose_rows(rows, limit=3, seed=1)
    assert choose_rows(rows, limit=100) == rows


def test_tasks_and_languages(tmp_path: Path) -> None:
    rows = read_rows([items(tmp_path)])
    assert {(r.task, r.lang) for r in choose_rows(rows, ["xquad"], ["sw"])} == {("xquad", "sw")}
    with pytest.raises(EvaluationError, match=r"^--languages: no row of language fr, th; the data has: de, sw$"):
        choose_rows(rows, languages=["fr", "de", "th"])
    with pytest.raises(EvaluationError, match="the data has: de, sw; 'de-DE' is no ISO 639-1 code; did you mean 'de'"):
        choose_rows(rows, languages=["de-DE"])
    with pytest.raises(EvaluationError, match=r"^--tasks: no row of task xnli; the data has: mkqa, xquad"):
        choose_rows(rows, tasks=["xnli"])
