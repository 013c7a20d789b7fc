"""What a limiter does: it admits a key's requests as far as the key's limits allow, and counts what they use."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final, Protocol

from cc_core.terminal.text import counted
from cc_serve.api.tenants.periods import BUDGETS, end_of, utc_now
from cc_serve.api.tenants.rates import Allowance, Meter
from cc_serve.config.configuration import KeyLimits

#: Names of the limits, as metrics and the store's scripts have them.
REQUESTS: Final = "requests_per_minute"
TOKENS: Final = "tokens_per_minute"
RUNNING: Final = "concurrent_requests_per_key"
PLACES: Final = "concurrent_requests"
SHARE_OF_PLACES: Final = "concurrent_requests_share"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Use:
    """How much a key has used lately, and how many of its requests are running."""

    requests: Meter = field(default_factory=Meter)
    tokens: Meter = field(default_factory=Meter)
    running: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why a request is not admitted.

    Args:
        limit: the limit's name.
        message: the message for the client.
        seconds: after how long to try again.
        status: the status of the response.
    """

    limit: str
    message: str
    seconds: int
    status: int = 429


class Place(ABC):
    """What one request holds of its key's limits, and what it charges to them.

    Args:
        key_limits: the key's limits.
        use: what the key has used.
        refusal: why the request is not admitted; None if it is.
    """

    def __init__(self, key_limits: KeyLimits, use: Use, refusal: Refusal | None = None) -> None:
        self.key_limits = key_limits
        self.use = use
        self.refusal = refusal

    def allowances(self) -> dict[str, Allowance]:
        """What each of the key's rates leaves for one more request: ``requests`` and ``tokens``, where limited."""
        return allowances(self.key_limits, self.use)

    @abstractmethod
    def charge(self, tokens: int) -> None:
        """Count tokens that were used."""

    @abstractmethod
    async def leave(self) -> None:
        """Give the place back: afterwards, the next request finds it free. A second call does nothing."""

    @abstractmethod
    def abandon(self) -> None:
        """`leave` without waiting for it."""


class Limiter(Protocol):
    """Admits requests."""

    async def admit(self, name: str | None, key_limits: KeyLimits, *, take: bool) -> Place:
        """Ask for a place.

        Args:
            name: the key's name; None stands for all requests without a key.
            key_limits: what the key may use.
            take: whether to count the request if the limits allow it. If not, it is refused for another reason.
        """
        ...


def allowances(key_limits: KeyLimits, use: Use) -> dict[str, Allowance]:
    """What ``key_limits`` leave of a minute's requests and tokens, as far as they are limited."""
    limited = (
        ("requests", use.requests, key_limits.requests_per_minute),
        ("tokens", use.tokens, key_limits.tokens_per_minute),
    )
    return {kind: meter.allowance(1, limit, now()) for kind, meter, limit in limited if limit is not None}


def refusal(limit: str, name: str | None, key_limits: KeyLimits, use: Use) -> Refusal:
    """The refusal of a request of the key called ``name``, which has reached ``limit``."""
    who = "all callers together" if name is None else "this key"
    for budget, kind, period in BUDGETS:
        if limit == budget:
            moment = utc_now()
            end = end_of(period, moment)
            bound = getattr(key_limits.budget, budget)
            what = f"{counted(bound, kind.removesuffix('s'))} a {period}"
            message = f"{who} may use {what}; the next one begins at {end:{_TIME}}"
            return Refusal(limit, message, math.ceil((end - moment).total_seconds()))
    if limit == RUNNING:
        what, wait = f"{counted(key_limits.concurrent_requests or 0, 'request')} at the same time", 1.0
    else:
        kind = "requests" if limit == REQUESTS else "tokens"
        allowance = allowances(key_limits, use)[kind]
        what, wait = f"{counted(allowance.limit, kind.removesuffix('s'))} a minute", allowance.wait
    seconds = max(1, math.ceil(wait))
    return Refusal(limit, f"{who} may use {what}; try again in {seconds} s", seconds)


def now() -> float:
    """The time in seconds, by the event loop's clock, which never goes back."""
    return asyncio.get_running_loop().time()
