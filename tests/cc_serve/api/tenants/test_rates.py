"""The token bucket: what it allows, when, and what it says is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_serve.api.tenants.rates import Meter

LIMIT = 60  # one a second


def test_a_minutes_worth_at_once_and_then_as_it_drains() -> None:
    meter = Meter()
    for used in range(LIMIT):
        allowance = meter.allowance(1, LIMIT, 0.0)
        assert (allowance.remaining, allowance.wait) == (LIMIT - used, 0)
        meter.add(1, LIMIT, 0.0)
    assert meter.allowance(1, LIMIT, 0.0).wait == pytest.approx(1)
    assert meter.allowance(1, LIMIT, 0.4).wait == pytest.approx(0.6)
    assert meter.allowance(1, LIMIT, 1.0).wait == 0
    assert meter.allowance(5, LIMIT, 1.0).wait == pytest.approx(4)


def test_what_is_left_and_when_all_of_it_is() -> None:
    meter = Meter()
    meter.add(15, LIMIT, 0.0)
    allowance = meter.allowance(1, LIMIT, 5.0)
    assert (allowance.limit, allowance.remaining, allowance.reset) == (60, 50, pytest.approx(10))


def test_use_beyond_the_limit_has_to_drain_first() -> None:
    meter = Meter()
    meter.add(3 * LIMIT, LIMIT, 0.0)
    allowance = meter.allowance(1, LIMIT, 0.0)
    assert (allowance.remaining, allowance.wait) == (0, pytest.approx(121))
    assert meter.allowance(1, LIMIT, 121.0).wait == pytest.approx(0)


def test_another_limit_applies_to_what_was_used_before() -> None:
    meter = Meter()
    meter.add(30, LIMIT, 0.0)
    assert meter.allowance(1, 20, 0.0).wait > 0
    assert meter.allowance(1, 120, 0.0).remaining == 90


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 100))
def test_no_minute_sees_more_than_twice_the_limit(pauses: list[float], limit: int) -> None:
    """A bucket full at the minute's start, and what drains within it; and whoever waits as told is let in."""
    meter, now, taken = Meter(), 0.0, []
    for pause in pauses:
        now += pause
        if meter.allowance(1, limit, now).wait == 0:
            meter.add(1, limit, now)
            taken.append(now)
        else:
            later = now + meter.allowance(1, limit, now).wait
            assert meter.allowance(1, limit, later).wait == pytest.approx(0, abs=1e-6)
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= 2 * limit
