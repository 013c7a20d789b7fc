"""The figures of an evaluation or a comparison, as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cc_core.terminal.text import counted
from cc_train.bootstrap import Interval
from cc_train.evaluation.compare import Comparison, Difference
from cc_train.evaluation.items import EvaluationError
from cc_train.evaluation.measures.language import LINES, WORDS
from cc_train.evaluation.scores import ALL, Cell
from cc_train.evaluation.tasks import TASKS

Figures = Mapping[str, Mapping[str, Cell]]

# The measures' names in tables.
_NAMES = {
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "f1": "F1",
    "rougeL": "ROUGE-L",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "chrf": "chrF",
    "readable": "readable",
    LINES: "lines in its language",
    WORDS: "words in its script",
    "empty": "empty",
    "cut": "cut",
    "refused": "refused",
}
FIGURES_FILE = "figures.json"
_NONE = "too few"
_NOTHING = "–"
_OF_ANSWERS = ("empty", "cut", "refused")  # shown only where one is above 0
_GAINS = ("rows", "first", "second", "gain", "95 % interval", "p", "win / tie / loss")


def overall(figures: Figures) -> float:
    """The mean over tasks of each one's mean over languages, 0 to 1; comparable over the same tasks only."""
    return sum(cells[ALL].judged.mean for cells in figures.values()) / len(figures)


def figures_json(system: Mapping[str, Any], figures: Figures, seed: int) -> dict[str, Any]:
    """All figures; means and intervals are 0 to 1."""
    return {
        "system": dict(system),
        "seed": seed,
        "overall": overall(figures),
        "tasks": {
            task: {"metric": TASKS[task].metric, "scopes": {name: asdict(cell) for name, cell in cells.items()}}
            for task, cells in figures.items()
        },
    }


def figures_markdown(system: Mapping[str, Any], figures: Figures) -> str:
    """A table for each task, in per cent: its metric with a 95 % interval, then the other measures."""
    lines = ["# Evaluation", "", *_system_lines({"": system})]
    for task, cells in figures.items():
        judged = TASKS[task].metric
        measures = [m for m in cells[ALL].measures if m != judged and _worth_showing(m, cells)]
        header = ["language", "rows", _NAMES[judged], "95 % interval", *(_NAMES[m] for m in measures)]
        rows = [
            [
                name,
                str(cell.rows),
                _percent(cell.judged.mean),
                _ends(cell.judged),
                *(_percent(cell.measures[m]) if m in cell.measures else _NOTHING for m in measures),
            ]
            for name, cell in cells.items()
        ]
        lines += [f"## {TASKS[task].title}", "", *_table(header, rows), ""]
    lines.append(f"Mean of the tasks' means over all languages: {_percent(overall(figures))}")
    return "\n".join(lines) + "\n"


def comparison_json(systems: Mapping[str, Mapping[str, Any]], comparison: Comparison, seed: int) -> dict[str, Any]:
    """All figures; means, gains and intervals are 0 to 1."""
    return {"systems": dict(systems), "seed": seed, **asdict(comparison)}


def comparison_markdown(systems: Mapping[str, Mapping[str, Any]], comparison: Comparison) -> str:
    """The overall gain, then a table for each task, in per cent."""
    lines = ["# Comparison", "", *_system_lines(systems)]
    if any(comparison.alone):
        lines += [
            f"Left out: {counted(comparison.alone[0], 'row')} that only the first has, "
            f"{comparison.alone[1]} only the second.",
            "",
        ]
    lines += ["## All tasks", "", *_table(["", *_GAINS], [["mean of tasks", *_gain(comparison.overall)]]), ""]
    for task, differences in comparison.tasks.items():
        header = [f"{_NAMES[TASKS[task].metric]} in", *_GAINS]
        rows = [[name, *_gain(difference)] for name, difference in differences.items()]
        lines += [f"## {TASKS[task].title}", "", *_table(header, rows), ""]
    return "\n".join(lines)


def write_output(directory: Path, name: str, content: dict[str, Any], text: str) -> None:
    """Write ``name``.json and ``name``.md; raises `EvaluationError` if they cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (directory / f"{name}.md").write_text(text, "utf-8")
    except OSError as error:
        raise EvaluationError(f"{directory}: cannot be written ({error.strerror})") from error


def read_system(directory: Path) -> dict[str, Any]:
    """What was evaluated, from the figures in ``directory``; raises `EvaluationError` if there are none."""
    path = directory / FIGURES_FILE
    try:
        system: dict[str, Any] = json.loads(path.read_text("utf-8"))["system"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}); run cc-train eval to its end first") from error
    return system


def _system_lines(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        line
        for name, system in systems.items()
        for line in (f"{name}: ".lstrip(": ") + ", ".join(f"{k} {v}" for k, v in system.items() if v is not None), "")
    ]


def _gain(difference: Difference) -> list[str]:
    return [
        str(difference.rows),
        _percent(difference.first),
        _percent(difference.second),
        f"{100 * difference.gain.mean:+.1f}",
        _ends(difference.gain, "+"),
        _NONE if difference.p is None else f"{difference.p:.3f}",
        f"{difference.wins} / {difference.ties} / {difference.losses}",
    ]


def _worth_showing(measure: str, cells: Mapping[str, Cell]) -> bool:
    return measure not in _OF_ANSWERS or any(cell.measures[measure] for cell in cells.values())


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] + ["---:"] * (len(header) - 1), *rows)]


def _ends(interval: Interval, sign: str = "") -> str:
    if interval.low is None or interval.high is None:
        return _NONE
    return f"{100 * interval.low:{sign}.1f} – {100 * interval.high:{sign}.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
