"""Searching for the highest rate that a server keeps up with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

MOST_STEPS: Final = 12
_UNDER_WAY_SHARE: Final = 0.2


def piles_up(begun: int, ended: int) -> bool:
    """Whether more of what began in a step was left at its end than a fifth of it and chance explain.

    Some is always under way; by how much that differs between a step's start and its end is chance, of the order of the
    square root of what comes.
    """
    return begun - ended > _UNDER_WAY_SHARE * begun + 2 * math.sqrt(begun)


def find_knee(holds: Callable[[float], bool], first: float, precision: float) -> float:
    """The highest rate tried that held: doubling or halving from the first until both are known, then between them.

    Args:
        holds: tries a rate.
        first: rate to try.
        precision: how far above the result a rate that did not hold may be, as a share of it.

    Raises:
        RuntimeError: none held, or all did, or the two did not come near enough, in `MOST_STEPS`.
    """
    good, bad, rate = 0.0, float("inf"), first
    for _ in range(MOST_STEPS):
        if holds(rate):
            good = rate
        else:
            bad = rate
        if bad <= good * (1 + precision):
            return good
        between = (good * bad) ** 0.5 if good else bad / 2
        rate = 2 * good if bad == float("inf") else between
    raise RuntimeError(f"no knee between {good:g} and {bad:g} in {MOST_STEPS} steps: begin with another rate")
