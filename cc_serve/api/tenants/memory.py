"""Limits that this process keeps by itself."""

from __future__ import annotations

from collections import defaultdict

from cc_serve.api.tenants.limiter import REQUESTS, RUNNING, TOKENS, Place, Refusal, Use, allowances, now, refusal
from cc_serve.config.configuration import KeyLimits


class MemoryLimiter:
    """Counts in this process; a restart forgets it."""

    def __init__(self) -> None:
        self._uses: defaultdict[str | None, Use] = defaultdict(Use)

    @property
    def running(self) -> int:
        """How many requests hold a place."""
        return sum(use.running for use in self._uses.values())

    async def admit(self, name: str | None, rates: KeyLimits, *, take: bool) -> Place:
        """See `Limiter`; it never waits."""
        use = self._uses[name]
        if (limit := _exceeded(rates, use)) is not None:
            return _MemoryPlace(rates, use, refusal(limit, name, rates, use))
        if take:
            use.running += 1
            if rates.requests_per_minute is not None:
                use.requests.add(1, rates.requests_per_minute, now())
        return _MemoryPlace(rates, use, held=take)


class _MemoryPlace(Place):
    def __init__(self, rates: KeyLimits, use: Use, refusal: Refusal | None = None, *, held: bool = False) -> None:
        super().__init__(rates, use, refusal)
        self._held = held

    def charge(self, tokens: int) -> None:
        if self.rates.tokens_per_minute is not None:
            self.use.tokens.add(tokens, self.rates.tokens_per_minute, now())

    async def leave(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        if self._held:
            self._held = False
            self.use.running -= 1


def _exceeded(rates: KeyLimits, use: Use) -> str | None:
    """The first limit that leaves nothing for one more request."""
    left = allowances(rates, use)
    for limit, kind in ((REQUESTS, "requests"), (TOKENS, "tokens")):
        if kind in left and left[kind].wait > 0:
            return limit
    full = rates.concurrent_requests is not None and use.running >= rates.concurrent_requests
    return RUNNING if full else None
