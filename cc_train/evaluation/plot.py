"""The figures as pictures: a panel for each task, languages from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cc_train.bootstrap import Interval
from cc_train.evaluation.compare import Comparison
from cc_train.evaluation.output import Figures
from cc_train.evaluation.tasks import TASKS

_COLUMNS = 4
_PANEL_INCHES = (3.2, 3.4)


def plot_figures(figures: Figures, path: Path) -> None:
    """Write a PNG of every task's metric by language, in per cent, with 95 % intervals."""
    _plot({task: {name: cell.judged for name, cell in cells.items()} for task, cells in figures.items()}, path)


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Write a PNG of every task's gain by language, in percentage points, with 95 % intervals."""
    _plot(
        {task: {name: d.gain for name, d in found.items()} for task, found in comparison.tasks.items()}, path, gain=True
    )


def _plot(panels: Mapping[str, Mapping[str, Interval]], path: Path, *, gain: bool = False) -> None:
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(columns * _PANEL_INCHES[0], lines * _PANEL_INCHES[1]), layout="constrained")
    grid: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, (task, intervals) in zip(grid, panels.items(), strict=False):
        _panel(axes, intervals, gain=gain)
        axes.set_title(f"{TASKS[task].title}: {TASKS[task].metric}", fontsize="medium")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("second minus first, percentage points" if gain else "per cent")
    figure.savefig(path, dpi=120)


def _panel(axes: Axes, intervals: Mapping[str, Interval], *, gain: bool) -> None:
    names = list(intervals)[::-1]
    for height, name in enumerate(names):
        found = intervals[name]
        color = "C0" if len(name) == 2 else "black"  # a language, or a mean of several
        if found.low is not None and found.high is not None:
            axes.plot([100 * found.low, 100 * found.high], [height, height], color=color, linewidth=1.5)
        axes.plot(100 * found.mean, height, "o", color=color, markersize=4)
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.grid(axis="x", alpha=0.3)
    if gain:
        axes.axvline(0, color="grey", linewidth=1)
    else:
        axes.set_xlim(left=0)
