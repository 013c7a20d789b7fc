"""The report of a check: JSON with every figure, and a page of Markdown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from benchmarks.engine_results import cells_of
from benchmarks.gpu_check.verdicts import (
    FACTOR,
    GAP_CEILING,
    GAP_FLOOR,
    LAYER_GAP,
    MEAN_CEILING,
    MEAN_FLOOR,
    TOLERANCE,
)
from benchmarks.machine import write_report

PASSED: Final = "passed"
FAILED: Final = "failed"
NOT_RUN: Final = "not run"
NOT_JUDGED: Final = "not judged"

_HOW: Final = f"""\
The two-pass reference on transformers, in float32, scores each answer token by token. A gap is how far a token is below
the reference's best, in nats; where all gaps are 0, greedy two-pass generation gives the same answer. *Agreeing* counts
the tokens before an answer's first gap.

- float32: log-probabilities within {TOLERANCE["cpu"]:g} (GPU: {TOLERANCE["cuda"]:g}, since its attention multiplies in
  TF32), gaps within twice that, layers equal.
- bfloat16: plain requests, which run through vLLM's own code, within {MEAN_CEILING:g} on average and a gap of
  {GAP_CEILING:g}. Connected requests within these, too, and at most {FACTOR:g} times as far off as plain ones, unless
  they are within {MEAN_FLOOR:g} on average and a gap of {GAP_FLOOR:g}. If the engine chose another layer, its logit is
  at most {LAYER_GAP:.0%} of the range below the best, and that layer is scored.
- An inject step must have run as the graph that was asked for, requests must have been preempted and found in the
  prefix cache, and this project's code must not wait for the GPU.
- Speed: a bound is missed where the whole interval is beyond it. Without a GPU the engines are eager, and nothing is
  judged.
"""


class Report:
    """What is known so far.

    Args:
        folder: where it is written, as ``report.json`` and ``report.md``.
        checkpoint: what is checked.
    """

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.machine: dict[str, str] = {}
        self.parts: dict[str, dict[str, Any]] = {}
        self.skipped: list[str] = []
        self.speed: list[dict[str, Any]] = []
        self.finished = False
        self.started = time.strftime("%Y-%m-%d %H:%M:%S %z")

    @property
    def passed(self) -> bool:
        """Whether all parts were run, and none found anything wrong."""
        return self.finished and all(part["outcome"] == PASSED for part in self.parts.values())

    @property
    def outcome(self) -> str:
        """The same in words."""
        return PASSED if self.passed else FAILED if self.finished else "not finished"

    def write(self) -> None:
        """Write what is known."""
        report = {
            "outcome": self.outcome,
            "checkpoint": str(self.checkpoint),
            "started": self.started,
            "machine": self.machine,
            "skipped": self.skipped,
            "parts": self.parts,
            "speed": self.speed,
        }
        write_report(self.folder / "report.json", report)
        (self.folder / "report.md").write_text(self.markdown(), "utf-8")

    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = [f"{part}: {problem}" for part, entry in self.parts.items() for problem in entry["problems"]]
        lines += [f"skipped: {reason}" for reason in self.skipped]
        return "\n".join([*lines, f"{self.outcome}: {self.folder / 'report.md'}"])

    def markdown(self) -> str:
        """The page."""
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = [
            f"# GPU check of {self.checkpoint.name}: {self.outcome}",
            "",
            f"{self.started}. {machine or 'The machine is unknown.'}",
            "",
            *(f"- Skipped: {reason}" for reason in self.skipped),
            *(f"- {part}: {problem}" for part, entry in self.parts.items() for problem in entry["problems"]),
            "",
            "| part | outcome | seconds | runner, graphs | inject steps by graph | waits: ours / vLLM's |",
            "| --- | --- | --- | --- | --- | --- |",
            *(_part_row(part, entry) for part, entry in self.parts.items()),
            "",
            "| answers | requests / tokens | agreeing | not the best | log-probability: mean, worst | gap | layers |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(row for part, entry in self.parts.items() for row in _answer_rows(part, entry)),
            "",
            *_speed_rows(self.speed),
            _HOW,
        ]
        return "\n".join(lines)


def _part_row(part: str, entry: dict[str, Any]) -> str:
    cells = [part, entry["outcome"], f"{entry['seconds']:.0f}", "", "", ""]
    if "steps" in entry:
        scheduling = ", async" if entry["async_scheduling"] else ""
        cells[3] = f"{entry['runner']}{scheduling}, {entry['graphs']}"
        steps = (f"{graph}: {counts.get('inject', 0)} of {counts['steps']}" for graph, counts in entry["steps"].items())
        cells[4] = ", ".join(steps)
        cells[5] = " / ".join(str(sum(entry["waits"][whose].values())) for whose in ("ours", "others"))
    return f"| {' | '.join(cells)} |"


def _answer_rows(part: str, entry: dict[str, Any]) -> list[str]:
    rows = []
    for kind in ("plain", "connected"):
        if some := entry.get(kind):
            cells = [
                f"{part}, {kind}",
                f"{some['requests']} / {some['tokens']}",
                str(some["agreeing"]),
                str(some["others"]),
                f"{some['mean']:.2g}, {some['worst']:.2g}",
                f"{some['gap']:.2g}",
                str(some["other_layers"]),
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def _speed_rows(results: list[dict[str, Any]]) -> list[str]:
    if not results:
        return []
    rows = ["| speed | measured | 95 % | bound | | |", "| --- | --- | --- | --- | --- | --- |"]
    return [*rows, *(f"| {' | '.join(cells_of(result))} |" for result in results), ""]
