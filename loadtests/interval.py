"""The confidence interval of a median by order statistics, which holds for any distribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

#: Fewest values for an interval: the range of fewer does not hold the true median with `CONFIDENCE`.
FEWEST: Final = 6
CONFIDENCE: Final = 0.95


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of ``values``, and the ends of its interval.

    The interval is the narrowest symmetric pair of order statistics that holds the true median with `CONFIDENCE`.

    Raises:
        ValueError: there are fewer than `FEWEST` values.
    """
    count, ordered = len(values), sorted(values)
    if count < FEWEST:
        raise ValueError(f"{count} values are too few for {CONFIDENCE:.0%} confidence: at least {FEWEST}")
    below, rank = 0.0, 0
    # The true median lies below ordered[rank] as often as ``count`` throws of a coin give at most ``rank`` heads.
    while 2 * (below + math.comb(count, rank) / 2**count) <= 1 - CONFIDENCE:
        below += math.comb(count, rank) / 2**count
        rank += 1
    return statistics.median(ordered), ordered[rank - 1], ordered[count - rank]
