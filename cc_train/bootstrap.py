"""Bootstrap over items: how much a mean would vary over other samples of items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cc_core.evidence import FEWEST_FOR_INTERVAL

SAMPLES = 2000
FEWEST_ITEMS = FEWEST_FOR_INTERVAL
_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % percentile interval; both ends are None with too few items."""

    mean: float
    low: float | None
    high: float | None


def language_mean(values: np.ndarray) -> float:
    """The mean over languages of the mean over items of ``values`` ``[items, languages]``; NaN is an absent row."""
    return float(np.nanmean(np.nanmean(values, axis=0)))


def resampled_means(values: np.ndarray, samples: int = SAMPLES, seed: int = 0) -> np.ndarray | None:
    """`language_mean` of ``samples`` draws of items with replacement, ``[samples]``; None with too few items.

    An item is drawn with all its languages, because parallel prompts are hard or easy together. A draw without an item
    of some language leaves that language out.
    """
    if len(values) < FEWEST_ITEMS:
        return None
    there = ~np.isnan(values)
    filled = np.where(there, values, 0.0)
    generator = np.random.default_rng(seed)
    items = len(values)
    means: list[np.ndarray] = []
    for start in range(0, samples, _CHUNK):
        counts = generator.multinomial(items, np.full(items, 1 / items), size=min(_CHUNK, samples - start)).astype(
            float
        )
        rows = counts @ there
        with np.errstate(invalid="ignore"):
            means.append(np.nanmean(counts @ filled / np.where(rows > 0, rows, np.nan), axis=1))
    every: np.ndarray = np.concatenate(means)
    return every


def interval(mean: float, means: np.ndarray | None) -> Interval:
    """The percentile interval of resampled ``means`` about the ``mean`` of the sample itself."""
    if means is None:
        return Interval(mean, None, None)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def p_value(differences: np.ndarray | None) -> float | None:
    """The two-sided p-value of no difference: twice the share of ``differences`` on the rarer side of 0, at most 1."""
    if differences is None:
        return None
    size = len(differences)
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (size + 1))
