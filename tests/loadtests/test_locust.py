"""Load tests against a real server count what they should, and fail when they should."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.programs import installed
from tests.support.server import Server

SHORT = ("--languages", "de,fr,en", "--output-tokens", "4,8")
# Examples before two turns of the longest questions would not fit into the 512 tokens that the model reads.
TURNS = ("--turns", "1,2", "--examples", "0")
EXAMPLES = ("--turns", "1", "--examples", "0,1")
CLOSED = ("-u", "2", "-r", "2", "-t", "8s", "--think-seconds", "0.05", *TURNS)
RUNS = {
    "closed": CLOSED,
    "open": ("-u", "2", "-r", "2", "-t", "8s", "--arrivals-per-second", "2", "--processes", "2", *EXAMPLES),
    "misrouted": (*CLOSED, "--languages", "fr", "--connection", "de", "--most-failed", "1"),
    "slow": (
        *CLOSED,
        "--most-first-token-ms",
        "0.1",
        # Below 0, which a busy machine measures where all tokens of an answer arrive together.
        "--most-between-tokens-ms=-1",
        "--least-tokens-per-second",
        "1e9",
    ),
    "nobody": (*CLOSED, "--host", "http://127.0.0.1:1"),
}


class Run:
    """A finished run of locust."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.output = process.communicate(timeout=600)[0]
        self.code = process.returncode
        self.report = folder / "report.html"
        table = folder / "run_stats.csv"
        rows = list(csv.DictReader(table.open())) if table.exists() else []
        self.counts = {(row["Type"], row["Name"]): int(row["Request Count"]) for row in rows}
        self.failures = {(row["Type"], row["Name"]): int(row["Failure Count"]) for row in rows}


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All runs at the same time, since a run spends most of it starting."""
    folders = {name: tmp_path_factory.mktemp(name) for name in RUNS}
    processes = {}
    for name, options in RUNS.items():
        files = ("--html", str(folders[name] / "report.html"), "--csv", str(folders[name] / "run"))
        ports = ("--master-bind-port", str(port := free_port()), "--master-port", str(port))
        command = [
            installed("locust"),
            "-f",
            str(ROOT / "loadtests/locustfile.py"),
            "--headless",
        ]
        processes[name] = subprocess.Popen(
            [*command, "--host", server.address, *SHORT, *options, *files, *ports],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return {name: Run(folders[name], process) for name, process in processes.items()}


@pytest.mark.parametrize("name", ["closed", "open"])
def test_a_good_run_passes(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    assert run.code == 0, run.output
    assert "first token, ms" in run.report.read_text("utf-8")


@pytest.mark.parametrize("name", ["closed", "open"])
def test_the_figures_are_by_language_and_connection(runs: dict[str, Run], name: str) -> None:
    counts = runs[name].counts
    for language, connection in (("de", "de"), ("fr", "global"), ("en", "off")):
        asked = counts.get(("POST", f"/v1/chat/completions {language}"), 0)
        assert counts.get(("first token, ms", f"{language} {connection}"), 0) == asked
        # An answer whose tokens came all at once has no speed, as may happen on a busy machine.
        assert counts.get(("tokens/s", f"{language} {connection}"), 0) <= asked
    requests = sum(count for (kind, _), count in counts.items() if kind == "POST")
    assert counts["first token, ms", "all"] == requests > 0
    assert counts["between tokens, ms", "all"] > counts["tokens/s", "all"] > 0  # answers of four tokens and more
    # Locust's own total is of requests, those of models and languages among them.
    looked_up = sum(count for (kind, _), count in counts.items() if kind == "GET")
    assert counts["", "Aggregated"] == requests + looked_up


def test_a_misrouted_answer_fails_the_run_whatever_its_thresholds(runs: dict[str, Run]) -> None:
    run = runs["misrouted"]
    assert run.code == 1
    assert "routed as de, de; expected fr, de" in run.output
    assert run.failures["POST", "/v1/chat/completions fr"] == run.counts["POST", "/v1/chat/completions fr"] > 0


def test_each_threshold_fails_the_run(runs: dict[str, Run]) -> None:
    run = runs["slow"]
    assert run.code == 1
    for problem in ("first token, ms: 99th percentile", "between tokens, ms: 99th percentile", "tokens/s: median"):
        assert problem in run.output


def test_a_run_without_a_server_fails(runs: dict[str, Run]) -> None:
    assert runs["nobody"].code == 1
    assert "is no cc-serve that is ready" in runs["nobody"].output


def test_plain_and_connected_are_compared(server: Server) -> None:
    options = ("--languages", "de,fr", "--output-tokens", "4", "--seconds", "0.3", "--pairs", "6", "--users", "2")
    command = [sys.executable, "-m", "loadtests.compare", server.address, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for figure in ("tokens/s", "first token, s", "between tokens, s"):
        assert figure in done.stdout
