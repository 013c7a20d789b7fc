"""The table of two tenants; that keys take turns in a real engine is tested in tests/cc_serve/engine/test_turns.py."""

from __future__ import annotations

from loadtests.tenants import FEW, MANY, Tenant, rows


def test_shares_waits_and_refusals_by_tenant() -> None:
    assert rows("turns", {MANY: Tenant(20, [1.0, 2.0, 9.0], 7), FEW: Tenant(2, [0.5])}) == [
        "| turns | many | 20 | 3 | 0.75 | 2.00 | 7 |",
        "| turns | few | 2 | 1 | 0.25 | 0.50 | 0 |",
    ]


def test_a_tenant_that_was_never_answered_is_there() -> None:
    assert (
        rows("one queue", {MANY: Tenant(20, [1.0]), FEW: Tenant(2)})[1] == "| one queue | few | 2 | 0 | 0.00 | - | 0 |"
    )
