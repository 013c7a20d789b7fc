"""Limits that this process keeps alone.

`cc_serve.api.tenants.scripts` decides the same in Lua, for servers that share a store: `ADMIT` there is `MemoryLimiter`
here, and its ``levels`` is `cc_serve.api.tenants.rates.Meter`. A change to one is a change to both, and
``tests/cc_serve/api/tenants/test_twins.py`` runs the same cases through both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from cc_serve.api.tenants.limiter import REQUESTS, RUNNING, TOKENS, Place, Refusal, Use, allowances, now, refusal
from cc_serve.api.tenants.periods import BUDGETS, periods, utc_now
from cc_serve.config.configuration import Budget, KeyLimits


class MemoryLimiter:
    """Counts in this process. A restart forgets rates.

    Args:
        spent: what keys have already used of their budgets, as ``requests`` and ``tokens`` by period and name.
    """

    def __init__(self, spent: Mapping[tuple[str, str | None], Mapping[str, int]] | None = None) -> None:
        self._uses: defaultdict[str | None, Use] = defaultdict(Use)
        # By period and name. The few numbers of earlier periods stay.
        self._spent: defaultdict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
        for place, amounts in (spent or {}).items():
            self._spent[place].update(amounts)

    @property
    def running(self) -> int:
        """How many requests hold a place."""
        return sum(use.running for use in self._uses.values())

    async def admit(self, name: str | None, key_limits: KeyLimits, *, take: bool) -> Place:
        """See `Limiter`; it never waits."""
        use = self._uses[name]
        limit = _exceeded(key_limits, use) or self._overspent(name, key_limits.budget)
        if limit is None and _is_full(key_limits, use):
            limit = RUNNING
        if limit is not None:
            return _MemoryPlace(self, name, key_limits, use, refusal(limit, name, key_limits, use))
        if take:
            use.running += 1
            if key_limits.requests_per_minute is not None:
                use.requests.add(1, key_limits.requests_per_minute, now())
            self.spend(name, "requests", 1)
        return _MemoryPlace(self, name, key_limits, use, held=take)

    def spend(self, name: str | None, kind: str, amount: int) -> None:
        """Count ``requests`` or ``tokens`` against the budgets of the day and the month."""
        for period in periods(utc_now()).values():
            self._spent[period, name][kind] += amount

    def _overspent(self, name: str | None, budget: Budget) -> str | None:
        """The first limit of ``budget`` that leaves nothing."""
        for limit, kind, period in BUDGETS:
            bound = getattr(budget, limit)
            if bound is not None and self._spent[periods(utc_now())[period], name][kind] >= bound:
                return limit
        return None


class _MemoryPlace(Place):
    def __init__(
        self,
        limiter: MemoryLimiter,
        name: str | None,
        key_limits: KeyLimits,
        use: Use,
        refusal: Refusal | None = None,
        *,
        held: bool = False,
    ) -> None:
        super().__init__(key_limits, use, refusal)
        self._limiter = limiter
        self._name = name
        self._held = held

    def charge(self, tokens: int) -> None:
        self._limiter.spend(self._name, "tokens", tokens)
        if self.key_limits.tokens_per_minute is not None:
            self.use.tokens.add(tokens, self.key_limits.tokens_per_minute, now())

    async def leave(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        if self._held:
            self._held = False
            self.use.running -= 1


def _exceeded(key_limits: KeyLimits, use: Use) -> str | None:
    """The first rate that leaves nothing for one more request."""
    left = allowances(key_limits, use)
    for limit, kind in ((REQUESTS, "requests"), (TOKENS, "tokens")):
        if kind in left and left[kind].wait > 0:
            return limit
    return None


def _is_full(key_limits: KeyLimits, use: Use) -> bool:
    return key_limits.concurrent_requests is not None and use.running >= key_limits.concurrent_requests
