"""Rates: how much of something a key has used lately, and when it may use more."""

from __future__ import annotations

from dataclasses import dataclass

_MINUTE = 60.0


@dataclass(frozen=True)
class Allowance:
    """What a rate leaves, in the terms of OpenAI's ``X-RateLimit`` headers.

    Args:
        limit: how much may be used in a minute.
        remaining: how much may be used now; 0 if more than the limit has been used.
        reset: seconds until the whole limit may be used at once again.
        wait: seconds until the amount that was asked for may be used; 0 if it may be used now.
    """

    limit: int
    remaining: int
    reset: float
    wait: float

    @classmethod
    def of(cls, used: float, amount: int, limit: int) -> Allowance:
        """What is left after ``used``, for a caller that wants ``amount``."""
        per_second = limit / _MINUTE
        excess = max(0.0, used + amount - limit)
        return cls(limit, max(0, int(limit - used)), used / per_second, excess / per_second)


class Meter:
    """A token bucket. It holds the amount used, which drains by one limit a minute.

    The limit is not part of the meter: a new limit also applies to what was used before. If more than the limit was
    used, the excess has to drain before more is allowed. `cc_serve.api.tenants.scripts` has it in Lua, as ``levels``.
    """

    def __init__(self, used: float = 0.0, at: float = 0.0) -> None:
        self._used = used
        self._at = at

    def add(self, amount: float, limit: int, now: float) -> None:
        """Count ``amount`` at ``now``, in seconds of a clock that never goes back."""
        self._used, self._at = self._level(limit, now) + amount, now

    def allowance(self, amount: int, limit: int, now: float) -> Allowance:
        """What is left at ``now``, for a caller that wants ``amount``."""
        return Allowance.of(self._level(limit, now), amount, limit)

    def _level(self, limit: int, now: float) -> float:
        return max(0.0, self._used - (now - self._at) * limit / _MINUTE)
