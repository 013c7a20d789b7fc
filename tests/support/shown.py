"""What the tests show of each model family; `tools/family_table.py` makes a page of it.

A test that shows something of a family has the marker ``shows(column)``. Its family is the parameter that is named
like one, or the marker's second argument. Where ``RECORD_FAMILIES=1`` is set, as by ``make families``, the tests that
pass are written to `RECORD`, with the requests and tokens that they compared. Otherwise a test that compares other
numbers than those on record fails.

As a program, it prints which tests there are: ``python -m tests.support.shown``.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import redirect_stdout
from typing import Any, Final

import pytest

from cc_core.architectures import FAMILIES
from tests.support.paths import ROOT
from tests.support.tally import TALLY
from tools.family_record import RECORD, SERVED, Shown, read_record

MARKER: Final = "shows"
VARIABLE: Final = "RECORD_FAMILIES"


def family_and_column(item: pytest.Item) -> tuple[str, str] | None:
    """What a test shows: family and column, or None."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return None
    column, *named = marker.args
    parameters = item.callspec.id.split("-") if hasattr(item, "callspec") else []
    families = [*named, *(name for name in parameters if name in FAMILIES)]
    return (families[0], column) if families else None


def recorded() -> Shown:
    """What was written last."""
    return read_record(RECORD)


def column_of(column: str) -> str:
    """The record's name of ``column`` under this session's model runner; see `tests.support.runners`."""
    runner = "V2" if os.environ.get("VLLM_USE_V2_MODEL_RUNNER") == "1" else "V1"
    return f"{column} {runner}" if column in SERVED else column


class Recorder:
    """The plugin of pytest that writes and checks the record."""

    def __init__(self) -> None:
        self.writes = os.environ.get(VARIABLE) == "1"
        self.shown: Shown = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        requests, tokens = TALLY.requests.total(), TALLY.tokens.total()
        yield
        found = family_and_column(item)
        if found is None:
            return
        family, column = found[0], column_of(found[1])
        counted = [TALLY.requests.total() - requests, TALLY.tokens.total() - tokens]
        if self.writes:
            self.shown.setdefault(column, {}).setdefault(family, {})[item.nodeid] = counted
            return
        known = recorded().get(column, {}).get(family, {}).get(item.nodeid)
        if known is not None and known != counted:
            pytest.fail(f"{RECORD.name} has {known} requests and tokens, and {counted} were compared: make families")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of pytest-xdist has shown."""
        for column, families in getattr(node, "workeroutput", {}).get(MARKER, {}).items():
            for family, tests in families.items():
                self.shown.setdefault(column, {}).setdefault(family, {}).update(tests)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[MARKER] = self.shown
        elif self.shown:
            self.write()

    def write(self) -> None:
        """Replace what is on record of the same families, columns and files."""
        shown = recorded()
        for column, families in self.shown.items():
            for family, tests in families.items():
                files = {name.partition("::")[0] for name in tests}
                known = shown.setdefault(column, {}).get(family, {})
                others = {name: counts for name, counts in known.items() if name.partition("::")[0] not in files}
                shown[column][family] = others | tests
        parts = []
        for column, families in sorted(shown.items()):
            lines = [f"  {json.dumps(family)}: {json.dumps(tests)}" for family, tests in sorted(families.items())]
            parts.append(f" {json.dumps(column)}: {{\n" + ",\n".join(lines) + "\n }")
        RECORD.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


class _Collector:
    def __init__(self) -> None:
        self.found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))

    def pytest_collection_modifyitems(self, items: Iterable[pytest.Item]) -> None:
        for item in items:
            if (found := family_and_column(item)) is not None:
                self.found[found[1]][found[0]].append(item.nodeid)


def main() -> None:
    """Print the tests by column and family, as JSON."""
    collector = _Collector()
    folders = [str(ROOT / "tests" / name) for name in ("cc_train", "cc_serve/engine")]
    with redirect_stdout(sys.stderr):
        code = pytest.main(["--collect-only", "-q", f"--rootdir={ROOT}", *folders], plugins=[collector])
    if code:
        sys.exit(int(code))
    print(json.dumps(collector.found))


if __name__ == "__main__":
    main()
