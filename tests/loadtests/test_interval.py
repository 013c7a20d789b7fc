"""The interval of a median equals the tabulated ranks, and holds the true median as often as it promises."""

from __future__ import annotations

import random

import pytest

from loadtests.interval import FEWEST, interval


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (25, 8)])
def test_bounds_are_the_tabulated_ranks(count: int, rank: int) -> None:
    assert interval([float(value) for value in range(1, count + 1)]) == ((count + 1) / 2, rank, count + 1 - rank)


def test_order_does_not_matter() -> None:
    values = [3.0, 1.0, 9.0, 4.0, 7.0, 2.0, 8.0]
    assert interval(values) == interval(sorted(values)) == (4.0, 1.0, 9.0)


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="5 values are too few"):
        interval([1.0] * (FEWEST - 1))


def test_it_holds_the_true_median_as_often_as_it_says() -> None:
    chance = random.Random(1)
    held = 0
    for _ in range(2000):
        _, low, high = interval([chance.lognormvariate(0, 2) for _ in range(12)])
        held += low <= 1 <= high
    assert held / 2000 > 0.94
