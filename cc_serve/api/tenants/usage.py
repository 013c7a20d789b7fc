"""The usage of keys: requests and tokens by key, day, language and connection, for reports and bills."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple, Protocol

from cc_serve.api.peers import PeerError, Peers
from cc_serve.api.telemetry.metrics import count_usage_error
from cc_serve.api.tenants.periods import periods, utc_now

logger = logging.getLogger(__name__)

_FLUSH_SECONDS: Final = 1.0
_CALL: Final = "flush usage"


class UsageError(Exception):
    """Usage cannot be written or read now; the message says why."""


class Heading(NamedTuple):
    """What usage is added up by. ``key`` is None for requests without a key."""

    key: str | None
    day: str
    language: str
    connection: str


@dataclass
class Amounts:
    """What was used.

    Args:
        requests: the number of requests of which the engine got a prompt.
        prompt_tokens: the tokens of their prompts.
        answer_tokens: the tokens of their answers.
    """

    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0

    def add(self, other: Amounts) -> None:
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.answer_tokens += other.answer_tokens


Usage = dict[Heading, Amounts]


class Archive(Protocol):
    """Keeps usage longer than the server runs."""

    async def add(self, batch: str, usage: Usage) -> None:
        """Add ``usage``. The same name of a ``batch`` a second time adds nothing. Raises `UsageError`."""

    async def read(self, days: Sequence[str]) -> Usage:
        """The usage of ``days``; raises `UsageError`."""
        ...


class Ledger:
    """Collects usage, and hands it to an archive in the background.

    Usage that the archive cannot take stays here until it can.

    Args:
        archive: the archive.
        peers: the server's other processes, each of which has a ledger of its own.
    """

    def __init__(self, archive: Archive, peers: Peers | None = None) -> None:
        self._archive = archive
        self._peers = peers or Peers()
        self._peers.offer(_CALL, self._flush_for_peer)
        self._collected: defaultdict[Heading, Amounts] = defaultdict(Amounts)
        self._pending: tuple[str, Usage] | None = None
        self._flushing = asyncio.Lock()
        self._clock: asyncio.Task[None] | None = None
        self._failed = False

    def add(self, key: str | None, language: str, connection: str, amounts: Amounts) -> None:
        """Count a request that is over."""
        self._collected[Heading(key, periods(utc_now())["day"], language, connection)].add(amounts)
        if self._clock is None or self._clock.done():
            self._clock = asyncio.create_task(self._flush_until_empty())

    async def flush(self) -> None:
        """Hand over what has been collected so far; raises `UsageError`."""
        async with self._flushing:
            await self._hand_over()  # what the archive could not take before
            if self._collected:
                # A second attempt has the same name, since the archive may have added the batch already.
                self._pending = secrets.token_hex(8), dict(self._collected)
                self._collected.clear()
                await self._hand_over()

    async def _hand_over(self) -> None:
        if self._pending is None:
            return
        try:
            await self._archive.add(*self._pending)
        except UsageError:
            count_usage_error()
            raise
        self._pending = None

    async def report(self, first: date, last: date) -> Usage:
        """The usage from the day ``first`` to the day ``last``, both included; raises `UsageError`."""
        await self.flush()
        try:
            problems = await self._peers.others(_CALL)
        except PeerError as error:
            raise UsageError(str(error)) from error
        if problem := next(filter(None, problems), None):
            raise UsageError(problem)
        days = [f"{first + timedelta(days=number)}" for number in range((last - first).days + 1)]
        return await self._archive.read(days)

    async def close(self) -> None:
        """Hand over the rest."""
        async with self._flushing:  # not during a write, which would go on in its thread, and then be repeated
            if self._clock is not None:
                self._clock.cancel()
        try:
            await self.flush()
        except UsageError as error:
            logger.error("the latest usage is lost (%s)", error)

    async def _flush_for_peer(self) -> str | None:
        try:
            await self.flush()
        except UsageError as error:
            return str(error)
        return None

    async def _flush_until_empty(self) -> None:
        while self._collected or self._pending:
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                await self.flush()
            except UsageError as error:
                if not self._failed:
                    logger.error("usage cannot be written (%s); it is kept in memory until it can", error)
                self._failed = True
            else:
                if self._failed:
                    logger.warning("usage can be written again")
                self._failed = False


def totals(usage: Usage) -> dict[str | None, Amounts]:
    """The sums by key."""
    sums: defaultdict[str | None, Amounts] = defaultdict(Amounts)
    for heading, amounts in usage.items():
        sums[heading.key].add(amounts)
    return dict(sums)
