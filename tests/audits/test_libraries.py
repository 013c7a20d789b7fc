"""Everything that we use of other libraries than vLLM and that no library promises to keep."""

from __future__ import annotations

import pytest

from tests.support.audit import TABLES, Entry, check, entries, find, installed, lines_of, moved
from tests.support.own_code import imported_symbols

# Their import changes the process (gevent's sockets), or needs a GPU; tests that run them are elsewhere.
_NOT_IMPORTED = {"deepspeed", "gevent", "geventhttpclient", "locust"}
_OTHERS = sorted(table.stem for table in TABLES.glob("*.txt") if table.stem != "vllm")
_ENTRIES = [entry for table in _OTHERS for entry in entries(table)]
_IMPORTS = sorted(
    symbol
    for symbol in imported_symbols()
    if not symbol.startswith("vllm") and Entry(symbol).library not in _NOT_IMPORTED
)


@pytest.mark.parametrize("entry", _ENTRIES, ids=str)
def test_entry(entry: Entry) -> None:
    if not installed(entry.library):
        pytest.skip(f"{entry.library} is not installed")
    with moved():
        check(entry)


@pytest.mark.parametrize("symbol", _IMPORTS)
def test_import(symbol: str) -> None:
    if not installed(Entry(symbol).library):
        pytest.skip(f"{Entry(symbol).library} is not installed")
    with moved():
        find(symbol)


@pytest.mark.parametrize("table", sorted(TABLES.glob("*.txt")), ids=lambda table: table.stem)
def test_table_is_sorted_and_says_nothing_twice(table: object) -> None:
    lines = lines_of(table)  # type: ignore[arg-type]
    assert lines == sorted(set(lines))
