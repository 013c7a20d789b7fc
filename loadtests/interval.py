"""How sure a median is, whatever the distribution: by order statistics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

#: The least number of values whose range holds the true median with `CONFIDENCE`.
FEWEST: Final = 6
CONFIDENCE: Final = 0.95


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and bounds: the narrowest interval of order statistics that holds the true one with 95 % confidence.

    Raises:
        ValueError: there are fewer than `FEWEST` values, of which no interval holds it so surely.
    """
    count, ordered = len(values), sorted(values)
    if count < FEWEST:
        raise ValueError(f"{count} values are too few for {CONFIDENCE:.0%} confidence: at least {FEWEST}")
    below, rank = 0.0, 0
    # How likely it is that the true median lies below the next value: that many of a fair coin's throws or fewer.
    while 2 * (below + math.comb(count, rank) / 2**count) <= 1 - CONFIDENCE:
        below += math.comb(count, rank) / 2**count
        rank += 1
    return statistics.median(ordered), ordered[rank - 1], ordered[count - rank]
