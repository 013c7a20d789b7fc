"""The page of the model families says what the tests show, no more and no less."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cc_core.architectures import FAMILIES
from tests.support import shown
from tests.support.paths import ROOT
from tests.support.tally import Tally
from tools.family_record import SERVED, TRAINED
from tools.family_table import NOTHING, families

TEST = "tests/cc_serve/engine/test_families.py::test_family[LlamaForCausalLM]"


def test_the_record_has_the_tests_that_there_are() -> None:
    command = [sys.executable, "-m", "tests.support.shown"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tests = json.loads(output)
    assert tests.keys() == {*TRAINED, *SERVED}
    record = shown.recorded()
    for column, by_family in tests.items():
        for family, names in by_family.items():
            found = record.get(f"{column} V1" if column in SERVED else column, {}).get(family, {})
            assert found.keys() == {*names}, f"{column} of {family}: make families"
            assert record.get(f"{column} V2", {}).get(family, {}).keys() <= {*names}, f"{column} of {family}"
    known = {f"{column}{runner}" for column in tests for runner in ("", " V1", " V2")}
    assert record.keys() <= known
    assert {family for by_family in record.values() for family in by_family} == FAMILIES.keys()


def test_every_family_was_trained_and_served() -> None:
    rows = [line.split(" | ") for line in families().splitlines() if line.startswith("| `")]
    assert {row[0].strip("| `") for row in rows} == FAMILIES.keys()
    for row in rows:
        assert NOTHING not in row[1:4], row[0]
        assert NOTHING not in row[4], row[0]


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    found = Tally()
    monkeypatch.setattr(shown, "TALLY", found)
    for name in (shown.VARIABLE, "VLLM_USE_V2_MODEL_RUNNER"):
        monkeypatch.delenv(name, raising=False)
    return found


def run(recorder: shown.Recorder, tally: Tally, requests: int) -> None:
    """A test that compares ``requests`` of two tokens each."""
    marker = pytest.mark.shows("served").mark
    item: Any = SimpleNamespace(
        nodeid=TEST,
        callspec=SimpleNamespace(id="LlamaForCausalLM"),
        get_closest_marker=lambda name: marker if name == "shows" else None,
    )
    call = recorder.pytest_runtest_call(item)
    next(call)
    for _ in range(requests):
        tally.count(2)
    with pytest.raises(StopIteration):
        next(call)


def test_a_test_that_compares_other_numbers_than_the_record_fails(tally: Tally, monkeypatch: Any) -> None:
    monkeypatch.setattr(shown, "recorded", lambda: {"served V1": {"LlamaForCausalLM": {TEST: [3, 6]}}})
    run(shown.Recorder(), tally, 3)
    with pytest.raises(pytest.fail.Exception, match=r"has \[3, 6\] requests and tokens, and \[2, 4\] were compared"):
        run(shown.Recorder(), tally, 2)


def test_what_is_recorded_replaces_the_familys_tests_of_that_file_and_column(
    tally: Tally, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "families.json"
    monkeypatch.setattr(shown, "RECORD", record)
    monkeypatch.setenv(shown.VARIABLE, "1")
    other = {"full": {"LlamaForCausalLM": {"a": [0, 0]}}}
    kept, gone = {"tests/x.py::b": [1, 1]}, {TEST.replace("test_family", "gone"): [9, 9]}
    record.write_text(json.dumps(other | {"served V1": {"LlamaForCausalLM": kept | gone, "X": kept}}))
    recorder = shown.Recorder()
    run(recorder, tally, 3)
    recorder.write()
    assert shown.recorded() == other | {"served V1": {"LlamaForCausalLM": kept | {TEST: [3, 6]}, "X": kept}}
