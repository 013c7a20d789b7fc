"""Two systems compared on the same rows: paired bootstrap, wins, ties and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cc_train.bootstrap import Interval, interval, language_mean, p_value, resampled_means
from cc_train.evaluation.items import EvaluationError
from cc_train.evaluation.scores import ALL, RowScore, by_task, item_values, scopes


@dataclass(frozen=True, slots=True)
class Difference:
    """The second system against the first.

    Args:
        rows: how many both have.
        first, second: means of the two systems, 0 to 1.
        gain: second minus first, with its interval.
        p: two-sided p-value of no difference; None with too few items.
        wins, ties, losses: rows on which the second is better, as good, and worse.
    """

    rows: int
    first: float
    second: float
    gain: Interval
    p: float | None
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems' difference.

    Args:
        tasks: by task and scope.
        overall: the mean over tasks of each one's mean over all its languages.
        alone: how many rows only the first has, and how many only the second; they are left out.
    """

    tasks: dict[str, dict[str, Difference]]
    overall: Difference
    alone: tuple[int, int]


def compare(first: Mapping[str, RowScore], second: Mapping[str, RowScore], seed: int = 0) -> Comparison:
    """Compare on the rows that both have, by key.

    Args:
        first, second: the rows of each by key.
        seed: the bootstrap's seed.

    Raises:
        EvaluationError: they have no row in common, or a row's prompts differ.
    """
    common = [key for key in first if key in second]
    if not common:
        raise EvaluationError("the two have no row in common; evaluate both on the same --data")
    for key in common:
        if first[key].prompt != second[key].prompt:
            raise EvaluationError(f"the prompt of {key!r} differs between the two; evaluate both on the same --data")
    tasks: dict[str, dict[str, Difference]] = {}
    draws: list[np.ndarray | None] = []
    for task, ours in by_task(first[key] for key in common).items():
        theirs = [second[score.key] for score in ours]
        tasks[task] = {}
        for name, languages in scopes(ours).items():
            before = item_values(ours, (s.value for s in ours), languages)
            # By the first system's items: an English parallel may have changed between the two evaluations.
            after = item_values(ours, (s.value for s in theirs), languages)
            means = resampled_means(after - before, seed=seed)
            tasks[task][name] = _difference(before, after, means)
            if name == ALL:
                draws.append(resampled_means(after - before, seed=seed + len(draws)))  # tasks are drawn independently
    alone = (len(first) - len(common), len(second) - len(common))
    return Comparison(tasks, _overall([differences[ALL] for differences in tasks.values()], draws), alone)


def _difference(before: np.ndarray, after: np.ndarray, means: np.ndarray | None) -> Difference:
    gain = after - before
    wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
    rows = int((~np.isnan(gain)).sum())
    return Difference(
        rows,
        language_mean(before),
        language_mean(after),
        interval(language_mean(gain), means),
        p_value(means),
        wins,
        rows - wins - losses,
        losses,
    )


def _overall(differences: list[Difference], draws: list[np.ndarray | None]) -> Difference:
    known = [means for means in draws if means is not None]
    means = np.mean(known, axis=0) if len(known) == len(draws) else None
    return Difference(
        sum(d.rows for d in differences),
        float(np.mean([d.first for d in differences])),
        float(np.mean([d.second for d in differences])),
        interval(float(np.mean([d.gain.mean for d in differences])), means),
        p_value(means),
        sum(d.wins for d in differences),
        sum(d.ties for d in differences),
        sum(d.losses for d in differences),
    )
