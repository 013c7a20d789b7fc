"""Ridge regression from normal equations agrees with what it abbreviates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_train.fit.least_squares import FitError, NormalEquations, held_out_errors, of_rank
from tests.support.made_pairs import SIZE, matrix


def rows(count: int, seed: int = 0, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, SIZE, generator=generator, dtype=torch.float64)
    return x, x @ matrix(1).double() + noise * torch.randn(count, SIZE, generator=generator, dtype=torch.float64)


def equations(x: torch.Tensor, y: torch.Tensor) -> NormalEquations:
    made = NormalEquations(SIZE)
    for part in range(0, len(x), 7):
        made.add(x[part : part + 7], y[part : part + 7])
    return made


def test_without_a_ridge_it_is_the_least_squares_solution() -> None:
    x, y = rows(40)
    torch.testing.assert_close(equations(x, y).solve(0.0), torch.linalg.lstsq(x, y).solution)


def test_the_error_is_that_of_the_rows() -> None:
    x, y = rows(40)
    assert equations(x, y).error(matrix(2)) == pytest.approx((x @ matrix(2).double() - y).square().sum().item())


def test_rows_can_be_taken_away_again() -> None:
    (x, y), (u, v) = rows(40), rows(30, 5)
    both = equations(torch.cat([x, u]), torch.cat([y, v]))
    both.include(equations(u, v), -1)
    assert both.rows == 40
    torch.testing.assert_close(both.solve(0.1), equations(x, y).solve(0.1))
    assert both.yy == pytest.approx(y.square().sum().item())


def test_a_ridge_pulls_towards_the_origin() -> None:
    x, y = rows(40)
    origin = matrix(3).double()
    moved = equations(x, y)
    moved.move_origin(origin)
    assert moved.yy == pytest.approx((y - x @ origin).square().sum().item())
    torch.testing.assert_close(origin + moved.solve(0.0), equations(x, y).solve(0.0))
    torch.testing.assert_close(origin + moved.solve(1e9), origin, atol=1e-6, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(5, 40))
def test_the_errors_on_rows_left_out_are_those_of_solving_each_ridge(seed: int, count: int) -> None:
    """Also with fewer rows than columns, where only the ridge makes a solution."""
    fitted, held_out = equations(*rows(count, seed)), equations(*rows(20, seed + 1))
    ridges = [1e-3, 0.1, 10.0, 1e6, float("inf")]
    found = held_out_errors(fitted, held_out, ridges)
    expected = [held_out.error(fitted.solve(ridge)) for ridge in ridges[:-1]] + [held_out.yy]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_a_full_rank_loses_nothing_and_a_lower_one_what_it_says() -> None:
    x, y = rows(60)
    whole = equations(x, y)
    transform = whole.solve(0.0)
    same, lost = of_rank(transform, whole.xx, SIZE)
    torch.testing.assert_close(same, transform)
    assert lost == 0
    lower, lost = of_rank(transform, whole.xx, 4)
    assert torch.linalg.matrix_rank(lower) == 4
    left = (x @ (transform - lower)).square().sum() / (x @ transform).square().sum()
    assert lost == pytest.approx(left.item())
    s = torch.linalg.svdvals(x @ transform)
    assert lost == pytest.approx((s[4:].square().sum() / s.square().sum()).item()), "no other of rank 4 loses less"


def test_too_few_rows_without_ridge_are_refused() -> None:
    few = equations(*rows(12))
    with pytest.raises(FitError, match=r"12 rows of activations do not determine a 16x16 .* more pairs, or raise the"):
        few.solve(0.0)
    few.solve(1e-6 * few.scale())


def test_no_rows_and_no_numbers_are_refused() -> None:
    with pytest.raises(FitError, match="no prompt pair"):
        NormalEquations(SIZE).scale()
    with pytest.raises(FitError, match="NaN or infinite"):
        equations(torch.full((2, SIZE), torch.nan), torch.zeros(2, SIZE)).scale()
