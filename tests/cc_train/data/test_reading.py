"""Rows are read, sampled and weighted; whatever cannot be used is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.reading import read_rows, sample_rows
from cc_train.data.records import DataError
from tests.support.tiny_rows import row

GOOD = {"id": "a", "lang": "de", "instruction": "Wort?", "instruction_en": "Word?", "output": "beta", "extra": [1]}
MALFORMED = [
    (b"{", "not JSON"),
    (b"[1]", "not a JSON object"),
    (b"\xff\xfe", "not UTF-8 at byte 0"),
    (b"[" * 100_000, "not JSON"),
    (
        json.dumps({k: v for k, v in GOOD.items() if k != "instruction_en"}).encode(),
        "field 'instruction_en' is missing",
    ),
    (json.dumps({**GOOD, "output": 3}).encode(), "field 'output' is not a string (found 3)"),
    (json.dumps({**GOOD, "output": " \n"}).encode(), "field 'output' is empty"),
    (
        json.dumps({**GOOD, "lang": "german"}).encode(),
        "field 'lang': 'german' is no ISO 639-1 code; did you mean 'de'?",
    ),
    (json.dumps({**GOOD, "instruction": "a\ud800b"}).encode(), "field 'instruction' holds a lone surrogate"),
]


@pytest.mark.parametrize("zipped", [False, True])
def test_plain_and_gzipped_files_are_told_by_their_content(tmp_path: Path, zipped: bool) -> None:
    payload = "".join(
        json.dumps(r, ensure_ascii=False) + "\n" for r in (GOOD, {**GOOD, "instruction": "単語？"})
    ).encode()
    path = tmp_path / "rows.bin"
    path.write_bytes(gzip.compress(payload) if zipped else payload)
    rows, skipped = read_rows([path])
    assert [r.instruction for r in rows] == ["Wort?", "単語？"]
    assert [(r.file, r.line, r.name) for r in rows][1] == (str(path), 2, f"{path}:2 (a)")
    assert skipped == []


def test_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(b"\n".join([good, *(bad for bad, _ in MALFORMED), b"", good]) + b"\n")
    rows, skipped = read_rows([path])
    assert [r.line for r in rows] == [1, len(MALFORMED) + 3]
    assert [s.line for s in skipped] == list(range(2, len(MALFORMED) + 2))
    for found, (_, reason) in zip(skipped, MALFORMED, strict=True):
        assert str(found).startswith(f"{path}:{found.line}: {reason}")


def test_rows_of_files_with_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["./de/rows.jsonl", "fr/rows.jsonl"]
    for path in map(Path, given):
        path.parent.mkdir()
        path.write_text(json.dumps(GOOD) + "\n{\n")
    rows, skipped = read_rows(given)
    assert [r.file for r in rows] == [s.file for s in skipped] == given


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        read_rows([tmp_path / "none.jsonl"])


def test_a_truncated_gzip_is_an_error_that_says_how_far_it_got(tmp_path: Path) -> None:
    lines = "".join(json.dumps({**GOOD, "id": str(i * 7919)}) + "\n" for i in range(5000)).encode()
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-2000])
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: cannot be read after line \d+: Compressed file ended"):
        read_rows([path])


@pytest.mark.parametrize(("at", "problem"), [(12, "Error -3 while decompressing"), (-8, "CRC check failed")])
def test_a_corrupt_gzip_is_an_error(tmp_path: Path, at: int, problem: str) -> None:
    payload = bytearray(gzip.compress(json.dumps(GOOD).encode()))
    payload[at : at + 4] = b"\xff" * 4
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(payload)
    with pytest.raises(DataError, match=rf"rows\.jsonl\.gz: cannot be read.*: {problem}"):
        read_rows([path])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 9))
def test_a_sample_keeps_order_and_is_seeded(count: int, limit: int, seed: int) -> None:
    rows = DiskSequence(row(id=str(i)) for i in range(count))
    sample = list(sample_rows(rows, limit or None, seed))
    assert len(sample) == (min(count, limit) if limit else count)
    assert [int(r.id) for r in sample] == sorted({int(r.id) for r in sample})
    assert sample == list(sample_rows(rows, limit or None, seed))
