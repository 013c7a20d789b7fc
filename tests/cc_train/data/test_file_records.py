"""Files come in every format and encoding that people have, or say in one line which they are and what to do."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_train.data.file_records import file_records
from cc_train.data.reading import read_rows
from cc_train.data.records import DataError
from tests.support.tiny_tokenizer import word_rows

ROWS = [{**row, "instruction": f'„Wört", {i}?\nBitte; ja'} for i, row in enumerate(word_rows(["de"], copies=1))]


def table(delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ROWS[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


def lines(indent: int | None = None) -> str:
    return "\n".join(json.dumps(row, indent=indent, ensure_ascii=False) for row in ROWS)


TEXTS = {
    "lines": lines(),
    "indented objects": lines(2),
    "array": json.dumps(ROWS, ensure_ascii=False),
    "indented array": json.dumps(ROWS, indent=2),
    "array in an object": json.dumps({"version": "1", "data": ROWS}, indent=1),
    "CSV": table(","),
    "CSV of another country": table(";"),
    "TSV": table("\t"),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_format_in_every_encoding(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    payload = TEXTS[name].encode(encoding)
    for content in (payload, gzip.compress(payload, mtime=0)):
        path.write_bytes(content)
        rows, skipped = read_rows([path])
        assert skipped == []
        assert [(row.id, row.instruction, row.output) for row in rows] == [
            (row["id"], row["instruction"], row["output"]) for row in ROWS
        ]


@pytest.mark.parametrize("question", ['"Habari" ni nini?', 'Nini "habari', '"Nani', "Nani?"])
def test_quotation_marks_of_the_text_in_a_table_with_tabs(question: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    row = f"sw\t{question}\tWho?\tRay"
    path.write_text("\n".join(["lang\tinstruction\tinstruction_en\toutput", row, row, "sw\tNani?\tWho?\tRay"]) + "\n")
    rows, skipped = read_rows([path])
    assert ([row.instruction for row in rows], skipped) == ([question, question, "Nani?"], [])


def test_a_column_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("lang,output,output\nde,a,b\n")
    with pytest.raises(DataError, match="names the column 'output' twice; rename one of them"):
        list(file_records(path))
    path.write_text("lang,output,,\nde,a,,\n")
    assert [record.fields for record in file_records(path)] == [{"lang": "de", "output": "a", "": ""}]


@pytest.mark.parametrize("name", ["lang", "instruction", "messages"])
def test_one_row_with_a_list_of_objects_is_a_row(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({name: "x", "meta": [{"k": 1}]}))
    assert [record.fields for record in file_records(path)] == [{name: "x", "meta": [{"k": 1}]}]


def test_a_table_names_the_line_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("lang,instruction,instruction_en,output\nde,Wort?,Word?,beta\nde,W,W,b,c\nde,Wort?\n")
    rows, skipped = read_rows([path])
    assert [row.line for row in rows] == [2]
    assert [str(row).removeprefix(f"{path}:") for row in skipped] == [
        "3: 5 cells, and the first line names 4",
        "4: field 'instruction_en' is missing",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04abc", "is a zip archive or a workbook; unpack it, or save the sheet as CSV"),
        (bz2.compress(b"{}"), "is compressed with bzip2; unpack it, or use gzip"),
        (b"ARROW1\0\0", "is an Arrow file; name the directory"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"%PDF-1.7", "is a PDF"),
        (
            b"Hello there\n",
            r"is none of JSON lines, a JSON array, CSV, TSV and Parquet \(it begins with 'Hello there'\)",
        ),
        (b"<html><body>1, 2</body></html>", "is none of JSON lines"),
        (b'[{"lang": "de"}, {"lang"', "is a JSON array that cannot be read: .* at line 1 column"),
        ("lang,output\nde,K\xe4se\n".encode("latin-1"), "is not UTF-8 .* save it as UTF-8"),
        ('{"lang": "de"}\n'.encode("utf-16")[:-1], "is not UTF-16 .* save it as UTF-8"),
        (gzip.compress(b"{}" * 99, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_what_is_no_rows_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(file_records(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
@pytest.mark.parametrize("name", ["lines", "array", "indented array", "array in an object"])
def test_values_that_python_cannot_read_spoil_no_other_row(name: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(TEXTS[name] + "\n" + f'{{"output": {value}}}\n')
    rows, skipped = read_rows([path])
    if name == "lines":
        assert (len(rows), len(skipped)) == (len(ROWS), 1)
    assert skipped


def test_a_cell_that_python_cannot_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("lang,messages,messages_en\nde," + "[" * 100_000 + ",x\n")
    rows, skipped = read_rows([path])
    assert len(rows) == 0
    assert "field 'messages' is not a list of messages" in skipped[0].reason


@given(
    st.sampled_from(sorted(TEXTS)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=8)), min_size=1, max_size=4),
)
@settings(max_examples=150)
def test_damage_is_named_and_nothing_else_is_raised(name: str, damage: list[tuple[int, int, bytes]]) -> None:
    content = TEXTS[name].encode()
    for place, removed, inserted in damage:
        content = content[:place] + inserted + content[place + removed :]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "rows"
        path.write_bytes(content)
        with suppress(DataError):
            read_rows([path])
