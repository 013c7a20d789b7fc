"""The knee of a server: the highest rate of requests that it keeps up with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

MOST_STEPS: Final = 12
_UNDER_WAY_SHARE: Final = 0.2


def piles_up(begun: int, ended: int) -> bool:
    """Whether requests pile up: more began than ended, by more than a fifth and chance.

    Some requests are always under way. Their number differs between the start and the end of a step by chance, of the
    order of the square root of those that begin.

    Args:
        begun: requests that began in a step.
        ended: requests that ended in it.
    """
    return begun - ended > _UNDER_WAY_SHARE * begun + 2 * math.sqrt(begun)


def find_knee(holds: Callable[[float], bool], first: float, precision: float) -> float:
    """The highest rate tried that held.

    The rate doubles or halves until one rate held and one did not, and then goes between the two.

    Args:
        holds: tries a rate, and says whether it held.
        first: the rate to try first.
        precision: stop when a rate did not hold that is above the result by no more than this share.

    Raises:
        RuntimeError: in `MOST_STEPS` none held, or all did, or the two did not come near enough.
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
    raise RuntimeError(f"no knee between {good:g} and {bad:g} in {MOST_STEPS} steps; begin with another --rate")
