"""The search for the knee."""

from __future__ import annotations

import pytest

from loadtests.knee import MOST_STEPS, find_knee, piles_up


@pytest.mark.parametrize("first", [0.1, 1.0, 7.0, 60.0])
@pytest.mark.parametrize("true", [0.7, 7.3, 40.0])
def test_it_is_found_from_below_and_from_above(true: float, first: float) -> None:
    tried = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= true

    found = find_knee(holds, first, 0.2)
    assert found <= true < found * 1.2
    assert found in tried


@pytest.mark.parametrize("always", [True, False])
def test_a_search_without_end_is_given_up(always: bool) -> None:
    tried = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return always

    with pytest.raises(RuntimeError, match="no knee"):
        find_knee(holds, 1.0, 0.2)
    assert len(tried) == MOST_STEPS


@pytest.mark.parametrize(
    ("begun", "ended", "expected"),
    [(16, 12, False), (16, 8, False), (200, 170, False), (400, 270, True), (400, 340, False), (16, 0, True)],
)
def test_chance_is_no_pile(begun: int, ended: int, expected: bool) -> None:
    assert piles_up(begun, ended) is expected
