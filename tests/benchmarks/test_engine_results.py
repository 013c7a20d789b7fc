"""A result's line says what was measured, how surely, and whether its bound is met."""

from __future__ import annotations

import pytest

from benchmarks.engine_results import Result, cells_of


@pytest.mark.parametrize(
    ("result", "cells"),
    [
        (Result("all", 1.0, None, "x"), ["all", "1", "", "", "", "x"]),
        (
            Result("all", 0.98, 0.97, "x", interval=(0.96, 0.99)),
            ["all", "0.98", "0.960 to 0.990", "≥ 0.97", "undecided", "x"],
        ),
        (
            Result("all", 0.98, 0.97, "x", interval=(0.975, 0.99)),
            ["all", "0.98", "0.975 to 0.990", "≥ 0.97", "met", "x"],
        ),
        (Result("all", 2.0, 1.25, "x", at_least=False), ["all", "2", "", "≤ 1.25", "missed", "x"]),
    ],
)
def test_a_result_has_a_line(result: Result, cells: list[str]) -> None:
    assert cells_of(result.as_record()) == cells
