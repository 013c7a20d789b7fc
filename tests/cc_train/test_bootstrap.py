"""Means over languages and their bootstrap, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from cc_train.bootstrap import Interval, interval, language_mean, p_value, resampled_means

NAN = float("nan")


def test_the_mean_is_of_languages_and_not_of_rows() -> None:
    values = np.array([[1.0, 0.0], [1.0, NAN], [1.0, NAN]])
    assert language_mean(values) == 0.5


def test_the_interval_of_a_share_is_the_normal_one() -> None:
    # 400 rows, 30 % right: the standard error is sqrt(0.3 * 0.7 / 400) = 0.0229.
    values = np.repeat([[1.0], [0.0]], [120, 280], axis=0)
    found = interval(language_mean(values), resampled_means(values))
    assert found.mean == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - 1.96 * 0.0229, abs=0.006)
    assert found.high == pytest.approx(0.3 + 1.96 * 0.0229, abs=0.006)


def test_parallel_rows_are_drawn_together() -> None:
    one = np.repeat([[1.0], [0.0]], [20, 20], axis=0)
    parallel = np.tile(one, 10)
    apart = np.column_stack([np.roll(one, 7 * k) for k in range(10)])
    assert resampled_means(parallel).std() == pytest.approx(resampled_means(one).std(), rel=0.01)
    assert resampled_means(apart).std() < resampled_means(parallel).std()


def test_a_language_that_a_draw_misses_is_left_out() -> None:
    values = np.array([[1.0, 0.0], *[[1.0, NAN]] * 9])
    means = resampled_means(values)
    assert set(means) == {0.5, 1.0}
    # The one item of the second language is missed with probability (9/10)^10.
    assert (means == 1.0).mean() == pytest.approx((9 / 10) ** 10, abs=0.04)


def test_too_few_items_have_no_interval() -> None:
    assert resampled_means(np.ones((9, 3))) is None
    assert interval(0.5, None) == Interval(0.5, None, None)
    assert p_value(None) is None


def test_it_repeats_itself() -> None:
    values = np.random.default_rng(0).random((50, 3))
    assert (resampled_means(values) == resampled_means(values)).all()
    assert (resampled_means(values) != resampled_means(values, seed=1)).any()
    assert len(resampled_means(values, samples=150)) == 150


def test_p_values() -> None:
    generator = np.random.default_rng(0)
    assert p_value(generator.normal(0, 1, 999)) > 0.8
    # A mean at 1.96 standard errors has p = 0.05.
    assert p_value(generator.normal(1.96, 1, 100_000)) == pytest.approx(0.05, abs=0.004)
    assert p_value(np.full(999, 0.1)) == 2 * 1 / 1000, "never 0"
    assert p_value(np.zeros(999)) == 1
