"""Trackio and Weights & Biases show a run's figures, without a network."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

TRACKERS = ROOT / ".tools" / "trackers"
# Prints the history in a file of Weights & Biases: a head of 7 bytes, then records, each behind its checksum (4 bytes),
# length (2) and kind (1). A file of less than 32 KB splits none.
READER = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2 as proto
data = Path(sys.argv[1]).read_bytes()
start = 7
while start < len(data):
    length, kind = struct.unpack_from("<HB", data, start + 4)
    assert kind == 1, kind
    start += 7 + length
    record = proto.Record.FromString(data[start - length : start])
    if record.history.item:
        print(json.dumps({".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not TRACKERS.exists():
        pytest.skip("`make trackers` has not fetched Trackio and Weights & Biases")
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


def python(*arguments: str, **environment: str) -> str:
    """What Python, which finds the trackers, prints."""
    found = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TRACKERS}", **environment}
    done = subprocess.run([sys.executable, *arguments], env=found, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def run(base: Path, tmp_path: Path, *options: str, **environment: str) -> list[dict[str, Any]]:
    """The losses and layers in the run's own log history."""
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    where = ("--model", str(base), "--data", str(rows), "--output", str(tmp_path / "out"), "--use-cpu")
    given = ("--max-steps", "3", "--logging-steps", "2", "--disable-tqdm", "true", *options)
    python("-m", "cc_train.commands.main", "run", *where, *given, **environment)
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "loss" in entry]


def check(kept: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    """Whether ``kept`` has what the run logged of its steps."""
    assert [entry["step"] for entry in history] == [2, 3]
    for name in ("loss", "learning_rate", "layers_in_use"):
        found = {entry["train/global_step"]: entry[f"train/{name}"] for entry in kept if f"train/{name}" in entry}
        assert found == pytest.approx({entry["step"]: entry[name] for entry in history})


def test_trackio_keeps_the_figures_on_this_machine(base: Path, tmp_path: Path) -> None:
    options = ("--report-to", "trackio", "--project", "mine", "--run-name", "first")
    history = run(base, tmp_path, *options, TRACKIO_DIR=str(tmp_path / "kept"))
    with sqlite3.connect(tmp_path / "kept" / "mine.db") as kept:
        entries = kept.execute("select run_name, metrics from metrics order by id").fetchall()
    assert {name for name, _ in entries} == {"first"}
    check([json.loads(metrics) for _, metrics in entries], history)


def test_weights_and_biases_keeps_the_figures_offline(base: Path, tmp_path: Path) -> None:
    options = ("--report-to", "wandb", "--run-name", "first")
    history = run(base, tmp_path, *options, WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    check([json.loads(line) for line in python("-c", READER, str(kept)).splitlines()], history)
