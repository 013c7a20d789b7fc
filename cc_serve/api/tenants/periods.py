"""Days and months of budgets, in UTC, so that all servers agree on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cc_serve.config.configuration import Budget

#: The fields of a budget, each with what it limits and for which period, in the order of the store's script.
BUDGETS: Final = (
    ("requests_per_day", "requests", "day"),
    ("tokens_per_day", "tokens", "day"),
    ("requests_per_month", "requests", "month"),
    ("tokens_per_month", "tokens", "month"),
)


def utc_now() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


def periods(moment: datetime) -> Mapping[str, str]:
    """The names of the day and the month: ``2026-11-29`` and ``2026-11``."""
    return _periods(moment.date())


@lru_cache(maxsize=4)  # asked for at each token
def _periods(day: date) -> Mapping[str, str]:
    return MappingProxyType({"day": f"{day:%Y-%m-%d}", "month": f"{day:%Y-%m}"})


def end_of(period: str, moment: datetime) -> datetime:
    """The end of the ``day`` or ``month`` that ``moment`` is in."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)


def budget_arguments(budget: Budget) -> tuple[int | str, ...]:
    """The budget as arguments of the store's script: each limit, or an empty string if there is none."""
    bounds = [getattr(budget, name) for name, _, _ in BUDGETS]
    return tuple("" if bound is None else bound for bound in bounds)
