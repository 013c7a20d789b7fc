"""The pictures of a run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cc_train.log_names import ALIGNMENT, LAYERS, SCORES

_LOSSES = {
    "plain": "without the connection",
    "identity": "no matrix",
    "global": "global matrix",
    "transform": "matrix served",
    "english": "true English activations",
}
_FITS = {"r2_by_layer": "R²", "cosine_by_layer": "cosine", "agreement_by_layer": "agreement of the choice"}
_COLUMNS = 4


def run_charts(history: Sequence[Mapping[str, Any]], scores: Mapping[str, Any]) -> dict[str, Figure]:
    """The pictures of a run, by name; one without figures is left out.

    Args:
        history: Trainer's log history.
        scores: from `cc_train.fit.scores.score_transforms`; may be empty.
    """
    charts: dict[str, Figure] = {}
    losses = {name: _series(history, name) for name in ("loss", "eval_loss")}
    if any(steps for steps, _ in losses.values()):
        charts["loss"] = _lines(losses, "nats per answer token", {"loss": "training", "eval_loss": "evaluation"})
    alignment = {ALIGNMENT: _series(history, ALIGNMENT)}
    if alignment[ALIGNMENT][0]:
        charts[ALIGNMENT] = _lines(alignment, "1: the English prompts' mean", {})
    scores_by_task = _task_scores(history)
    if scores_by_task:
        charts[SCORES] = _lines(scores_by_task, "score", {name: name for name in scores_by_task})
    rates = {"learning_rate": _series(history, "learning_rate")}
    if rates["learning_rate"][0]:
        charts["learning_rate"] = _lines(rates, "learning rate", {})
    counted = [(entry["step"], entry[LAYERS]) for entry in history if LAYERS in entry]
    if counted:
        charts["layers"] = _layers(counted)
    languages = [name for name in scores if name != "all"]
    if languages:
        charts["fit"] = _fit(scores, languages)
    if scores and scores["all"]["answer_loss"]:
        charts["answer_loss"] = _answer_loss(scores)
    return charts


def _series(history: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    entries = [entry for entry in history if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


def _task_scores(history: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    """The scores of generated answers over the steps, for each task and language."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for entry in history:
        for task, by_language in entry.get(SCORES, {}).items():
            for language, score in by_language.items():
                steps, values = series.setdefault(f"{task}, {language}", ([], []))
                steps.append(entry["step"])
                values.append(score)
    return series


def _lines(series: Mapping[str, tuple[list[int], list[float]]], label: str, legend: Mapping[str, str]) -> Figure:
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, (steps, values) in series.items():
        if steps:
            axes.plot(steps, values, marker="o" if len(steps) < 20 else None, label=legend.get(name))
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    if sum(bool(steps) for steps, _ in series.values()) > 1:
        axes.legend()
    return figure


def _layers(counted: Sequence[tuple[int, Mapping[str, Sequence[int]]]]) -> Figure:
    """A panel for each language: steps from left to right, layers from bottom to top; dark is chosen often."""
    languages = sorted({language for _, counts in counted for language in counts})
    depth = len(next(iter(counted[0][1].values())))
    panels = {
        language: np.stack([_share(counts.get(language, [0] * depth)) for _, counts in counted], axis=1)
        for language in languages
    }
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 1.9 * lines + 0.5), layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flat)
    first, last = counted[0][0], counted[-1][0]
    for axes, (language, share) in zip(grid, panels.items(), strict=False):
        image = axes.imshow(
            share,
            aspect="auto",
            origin="lower",
            vmin=0,
            vmax=1,
            cmap="Blues",
            interpolation="nearest",
            extent=(0, max(last, first), -0.5, depth - 0.5),
        )
        axes.set_title(language, fontsize="medium")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=grid, label="share of the rows", shrink=0.8)
    figure.supxlabel("step", fontsize="medium")
    figure.supylabel("layer", fontsize="medium")
    return figure


def _share(counts: Sequence[int]) -> np.ndarray:
    values = np.asarray(counts, float)
    return values / values.sum() if values.sum() else np.full(len(values), np.nan)


def _fit(scores: Mapping[str, Any], languages: Sequence[str]) -> Figure:
    """A heat map for each measure: languages by layers."""
    depth = len(scores["all"]["transform"]["r2_by_layer"])
    figure = Figure(figsize=(0.16 * depth * len(_FITS) + 4, 0.24 * len(languages) + 1.6), layout="constrained")
    grid: list[Axes] = list(figure.subplots(1, len(_FITS), squeeze=False, sharey=True).flat)
    for axes, (name, title) in zip(grid, _FITS.items(), strict=True):
        values = np.array([scores[lang]["transform"][name] for lang in languages], float)
        image = axes.imshow(values, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("layer")
    grid[0].set_yticks(range(len(languages)), languages)
    figure.colorbar(image, ax=grid, label="0 or less is darkest, white: nothing to measure")
    return figure


def _answer_loss(scores: Mapping[str, Any]) -> Figure:
    """The answers' loss by language: a dot for each vector that the connection was given."""
    languages = [name for name, score in scores.items() if score["answer_loss"]][::-1]
    figure = Figure(figsize=(7, 0.3 * len(languages) + 1.6), layout="constrained")
    axes = figure.subplots()
    for name, label in _LOSSES.items():
        axes.plot([scores[lang]["answer_loss"][name] for lang in languages], languages, "o", alpha=0.7, label=label)
    axes.set_xlabel("nats per answer token, on held-out pairs")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
