"""Limits that several servers keep together, in a store."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from contextlib import suppress
from itertools import count
from typing import Final, NamedTuple

from cc_serve.api.background import Background
from cc_serve.api.telemetry.metrics import count_store_error, expect_store_errors
from cc_serve.api.tenants.limiter import Place, Refusal, Use, now, refusal
from cc_serve.api.tenants.names import keys_of, tag_of
from cc_serve.api.tenants.periods import budget_arguments, utc_now
from cc_serve.api.tenants.rates import Meter
from cc_serve.api.tenants.scripts import ADMIT, FORGET, RENEW, SETTLE
from cc_serve.api.tenants.store import Argument, LostError, Store, StoreError
from cc_serve.config.configuration import Budget, KeyLimits

# While an answer is generated, its tokens are charged this often, together.
_CHARGE_SECONDS: Final = 0.05
# How often a lease is renewed before it would end.
_RENEWALS: Final = 3
# How many leases are remembered that the store could not be told to end.
_REMEMBERED: Final = 4096


class _Lost(NamedTuple):
    keys: tuple[str, ...]  # of the day on which it was asked for
    key_limits: KeyLimits
    number: int
    lease: str


class SharedLimiter:
    """Counts in the store, so that a key's limits hold over all servers that use the store.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._section = store.section
        self._refuses = store.section.on_error == "refuse"
        expect_store_errors(store.section.on_error)
        store.when_back.append(self._return)
        self._server = secrets.token_hex(8)
        self._numbers = count(1)
        # The numbers of requests that the store has not answered, in order: the first is the smallest.
        self._asking: dict[int, None] = {}
        # What the store has to take back when it can be asked again. Leases also expire, so some may be missing here.
        self._lost: list[_Lost] = []
        # The key's tag by lease, also of leases that were given without the store; it learns of them later.
        self._held: dict[str, str] = {}
        self._uncharged: defaultdict[str, int] = defaultdict(int)
        self._background = Background()
        self._beat: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many of this server's requests hold a lease."""
        return len(self._held)

    async def admit(self, name: str | None, key_limits: KeyLimits, *, take: bool) -> Place:
        """See `Limiter`. Without the store, requests are let in or refused as the configuration says."""
        tag = tag_of(name)
        if key_limits == KeyLimits():
            return SharedPlace(self, tag, key_limits, Use())
        lease = secrets.token_hex(8) if take and key_limits.concurrent_requests is not None else ""
        uncharged = self._uncharged.pop(tag, 0)
        number = next(self._numbers)
        self._asking[number] = None
        keys = self._keys(tag)
        lost: _Lost | None = None
        asked = (uncharged, lease, self._section.lease_seconds, number if take else 0, next(iter(self._asking)))
        try:
            limit, requests, tokens = await self._store.run(
                ADMIT,
                keys,
                (
                    *_limits(key_limits),
                    _argument(key_limits.concurrent_requests),
                    *asked,
                    *budget_arguments(key_limits.budget),
                ),
            )
        except StoreError as error:
            count_store_error(self._section.on_error)
            if self._refuses:
                if isinstance(error, LostError) and take:
                    lost = _Lost(keys, key_limits, number, lease)
                    self._lost.append(lost)
                return SharedPlace(self, tag, key_limits, Use(), _unreachable())
            self._hold(lease, tag)
            return SharedPlace(self, tag, key_limits, Use(), lease=lease)
        except asyncio.CancelledError:  # the client has gone, but the store may still let the request in
            self.settle(tag, key_limits, lease)
            raise
        finally:
            if lost is None:
                del self._asking[number]
        use = Use(Meter(float(requests), now()), Meter(float(tokens), now()))
        if limit:
            return SharedPlace(self, tag, key_limits, use, refusal(limit, name, key_limits, use))
        self._hold(lease, tag)
        return SharedPlace(self, tag, key_limits, use, lease=lease)

    def charge(self, tag: str, key_limits: KeyLimits, tokens: int) -> None:
        """Count tokens. They go to the store soon, or together with the key's next request."""
        if tokens == 0 or (key_limits.tokens_per_minute is None and key_limits.budget == Budget()):
            return
        if not self._uncharged[tag]:
            asyncio.get_running_loop().call_later(_CHARGE_SECONDS, self.settle, tag, key_limits)
        self._uncharged[tag] += tokens

    def settle(self, tag: str, key_limits: KeyLimits, lease: str = "") -> asyncio.Task[None] | None:
        """Begin to charge what is not charged yet, and to end a lease; None if there is nothing to do."""
        self._held.pop(lease, None)
        uncharged = self._uncharged.pop(tag, 0)
        if not uncharged and not lease:
            return None
        return self._background.start(self._settle(tag, key_limits, uncharged, lease))

    async def close(self) -> None:
        """Renew no more leases, and wait until those that have ended are settled."""
        if self._beat is not None:
            self._beat.cancel()
        await self._background.finished()

    def _keys(self, tag: str) -> tuple[str, ...]:
        return keys_of(self._section.prefix, tag, self._server, utc_now())

    def _hold(self, lease: str, tag: str) -> None:
        if not lease:
            return
        self._held[lease] = tag
        if self._beat is None or self._beat.done():
            self._beat = asyncio.create_task(self._beat_while_held())

    async def _beat_while_held(self) -> None:
        while self._held:
            await asyncio.sleep(self._section.lease_seconds / _RENEWALS)
            self._renew()

    def _return(self) -> None:
        """Bring the store up to date: take back requests whose answers were lost, and renew the leases that run."""
        lost, self._lost = self._lost, []
        for each in lost:
            self._background.start(self._forget(each))
        self._renew()

    async def _forget(self, lost: _Lost) -> None:
        try:
            await self._store.run(FORGET, lost.keys, (*_limits(lost.key_limits), lost.number, lost.lease))
        except StoreError:
            # Again when the store is back: a lease would end by itself, but a month's budget would keep the request.
            if self._store.is_lost:
                self._lost.append(lost)
                return
            # Otherwise the store refuses, and has said so; asking again would not help.
        # Only now the request counts as answered: the next one that is let in makes the store drop all such numbers.
        self._asking.pop(lost.number, None)

    def _renew(self) -> None:
        by_tag: defaultdict[str, list[str]] = defaultdict(list)
        for lease, tag in self._held.items():
            by_tag[tag].append(lease)
        for tag, leases in by_tag.items():
            self._background.start(self._try(RENEW, self._keys(tag)[1:2], (self._section.lease_seconds, *leases)))

    async def _settle(self, tag: str, key_limits: KeyLimits, uncharged: int, lease: str) -> None:
        keys = self._keys(tag)
        try:
            await self._store.run(SETTLE, keys, (*_limits(key_limits), uncharged, lease))
        except StoreError:
            if lease and len(self._lost) < _REMEMBERED:
                self._lost.append(_Lost(keys, key_limits, 0, lease))

    async def _try(self, script: str, keys: tuple[str, ...], arguments: tuple[Argument, ...]) -> None:
        with suppress(StoreError):  # `Store` has logged it, and leases end by themselves
            await self._store.run(script, keys, arguments)


class SharedPlace(Place):
    """A place that the store knows of: by a lease, if the key's concurrent requests are limited.

    Args:
        limiter: the limiter that admitted the request.
        tag: the key's tag in the store.
        key_limits: the key's limits.
        use: what the key has used: the store's figures when it was asked, and what this request adds to them.
        refusal: why the request is not admitted; None if it is.
        lease: the lease's id; empty without one.
    """

    def __init__(
        self,
        limiter: SharedLimiter,
        tag: str,
        key_limits: KeyLimits,
        use: Use,
        refusal: Refusal | None = None,
        *,
        lease: str = "",
    ) -> None:
        super().__init__(key_limits, use, refusal)
        self._limiter = limiter
        self._tag = tag
        self._lease = lease
        self._left = refusal is not None

    def charge(self, tokens: int) -> None:
        if self.key_limits.tokens_per_minute is not None:
            self.use.tokens.add(tokens, self.key_limits.tokens_per_minute, now())
        self._limiter.charge(self._tag, self.key_limits, tokens)

    async def leave(self) -> None:
        if (settling := self._settle()) is not None:
            await asyncio.shield(settling)

    def abandon(self) -> None:
        self._settle()

    def _settle(self) -> asyncio.Task[None] | None:
        if self._left:
            return None
        self._left = True
        return self._limiter.settle(self._tag, self.key_limits, self._lease)


def _limits(key_limits: KeyLimits) -> tuple[Argument, ...]:
    return (
        int(key_limits.budget != Budget()),
        _argument(key_limits.requests_per_minute),
        _argument(key_limits.tokens_per_minute),
    )


def _argument(limit: int | None) -> Argument:
    return "" if limit is None else limit


def _unreachable() -> Refusal:
    return Refusal("store", "the limits of keys cannot be looked up now; try again", 5, status=503)
