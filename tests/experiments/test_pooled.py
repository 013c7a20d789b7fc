"""A gain over several models: one interval, for the same items."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.compare import paired
from experiments.pooled import pooled


def test_a_gain_that_all_rows_share_is_certain() -> None:
    models = [np.full((3, 60), 0.1), np.full((2, 60), 0.3)]
    assert pooled(models, np.repeat(np.arange(12), 5)) == pytest.approx((0.2, 0.2, 0.2))


def test_two_models_that_agree_are_no_more_certain_than_one() -> None:
    """They were asked the same items: what is chance in the items is chance in both."""
    gain = np.random.default_rng(0).normal(0.1, 1, (1, 200))
    mean, low, high = pooled([gain, gain], np.arange(200))
    one = paired(gain, np.zeros_like(gain), np.ones(200), np.arange(200))
    assert mean == pytest.approx(one[0])
    assert high - low == pytest.approx(one[2] - one[1], rel=0.1)


def test_models_with_other_chance_are_more_certain_together() -> None:
    generator = np.random.default_rng(1)
    gains = [generator.normal(0.1, 1, (1, 200)) for _ in range(2)]
    alone, both = pooled(gains[:1], np.arange(200)), pooled(gains, np.arange(200))
    assert both[2] - both[1] < 0.85 * (alone[2] - alone[1])
