"""A sequence on disk is what a list is, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import pickle
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.records import DataError
from tests.support.disk import files_of_at_most

ITEMS = st.lists(st.tuples(st.integers(), st.text(max_size=5)), max_size=9)


@given(ITEMS, ITEMS, st.data())
def test_it_has_what_a_list_has(first: list[object], second: list[object], data: st.DataObject) -> None:
    sequence = DiskSequence(first) + DiskSequence(second)
    expected = first + second
    assert list(sequence) == expected
    assert len(sequence) == len(expected)
    assert list(sequence[1:-1]) == expected[1:-1]
    indices = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=9) if expected else st.just([]))
    chosen = sequence.choose(indices)
    assert list(chosen) == [expected[i] for i in indices]
    assert list(chosen + sequence) == [*(expected[i] for i in indices), *expected]
    assert list(sequence.where(bool)) == [item for item in expected if item]
    for i in (-len(expected), len(expected) - 1) if expected else ():
        assert sequence[i] == expected[i]
    for i in (-len(expected) - 1, len(expected)):
        with pytest.raises(IndexError):
            sequence[i]


def test_items_are_not_in_memory_and_the_file_has_no_name(tmp_path: Path) -> None:
    count, size = 2_000, 10_000
    tracemalloc.start()
    sequence = DiskSequence((np.full(size, i % 100, np.uint8) for i in range(count)), tmp_path)
    assert sum(int(array[0]) for array in sequence) == sum(i % 100 for i in range(count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < count * size / 20
    assert not list(tmp_path.iterdir())


def test_a_file_is_closed_with_the_last_that_refers_to_it() -> None:
    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    sequence = DiskSequence(range(9)) + DiskSequence(range(9))
    chosen = sequence.choose([1, 10])
    del sequence
    assert open_files() == before + 2
    assert list(chosen) == [1, 1]
    del chosen
    assert open_files() == before


def test_processes_that_load_batches_read_at_once() -> None:
    sequence = DiskSequence(range(2_000))
    loader = DataLoader(sequence, batch_size=10, num_workers=2)  # type: ignore[arg-type]
    assert [value for batch in loader for value in batch.tolist()] == list(range(2_000))


def test_a_full_disk_is_named_and_what_fails_elsewhere_is_raised(tmp_path: Path) -> None:
    message = r"rows cannot be kept there \(.*\); \d+ MB are free there: make room"
    with files_of_at_most(1 << 16), pytest.raises(DataError, match=message):
        DiskSequence(map(str, range(1_000_000)), tmp_path)
    with pytest.raises(ZeroDivisionError):
        DiskSequence((1 // i for i in (1, 0)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_empty_one_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    empty = DiskSequence[int]()
    assert not empty
    assert list(empty + DiskSequence()) == list(empty.where(bool)) == []


def test_a_place_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"missing: rows cannot be kept there .*; choose an --output elsewhere"):
        DiskSequence([1], tmp_path / "missing")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone: rows cannot be kept there .*; TMPDIR names another"):
        DiskSequence([1])


def test_it_does_not_go_to_processes_that_could_not_read_it() -> None:
    with pytest.raises(TypeError, match="only processes that are forked can read it"):
        pickle.dumps(DiskSequence([1]))
