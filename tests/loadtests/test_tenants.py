"""The table of two tenants; that keys take turns in a real engine is tested in tests/cc_serve/engine/test_turns.py."""

from __future__ import annotations

from loadtests.tenants import FEW, MANY, Answered, rows


def test_shares_and_waits_by_tenant() -> None:
    answered = [*(Answered(MANY, wait) for wait in (1.0, 2.0, 9.0)), Answered(FEW, 0.5)]
    assert rows("turns", answered) == [
        "| turns | many | 20 | 3 | 0.75 | 2.00 |",
        "| turns | few | 2 | 1 | 0.25 | 0.50 |",
    ]


def test_a_tenant_that_was_never_answered_is_there() -> None:
    assert rows("one queue", [Answered(MANY, 1.0)])[1] == "| one queue | few | 2 | 0 | 0.00 | - |"
