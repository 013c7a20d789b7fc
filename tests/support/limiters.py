"""Limiters that share a store, each of which is what one server has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cc_serve.api.tenants.scripts import PROBE
from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.store import Store
from cc_serve.config import store as config
from tests.support.store import StoreServer

PATIENCE = 30


def run(server: StoreServer, talk: Callable[..., Awaitable[None]], *, limiters: int = 2, **options: Any) -> None:
    """Let several limiters of one store talk.

    They wait long for the store where ``options`` say nothing else: on a busy machine it may not answer for a second.
    """

    asyncio.run(among(server, talk, limiters=limiters, **options))


async def among(
    server: StoreServer, talk: Callable[..., Awaitable[None]], *, limiters: int = 2, **options: Any
) -> None:
    """`run` within an event loop."""
    section = config.Store.model_validate({"url": server.url, "timeout_seconds": PATIENCE, **options})
    stores = [Store(section) for _ in range(limiters)]
    made = [SharedLimiter(store) for store in stores]
    try:
        await talk(*made)
    finally:
        for limiter in made:
            await limiter.close()
        for store in stores:
            await store.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@contextmanager
def impatient(limiter: SharedLimiter) -> Iterator[None]:
    """The limiter does not wait for its store, which does not answer."""
    with mock.patch.object(limiter._store, "_timeout", 0.2):
        yield


@contextmanager
def asked(limiter: SharedLimiter) -> Iterator[list[Any]]:
    """The scripts that the limiter has its store asked to run from now on."""
    scripts: list[Any] = []
    execute = limiter._store._execute

    async def noted(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        scripts.extend(script for _, script, *_ in commands)
        return await execute(commands)

    with mock.patch.object(limiter._store, "_execute", noted):
        yield scripts


async def looked_for(limiter: SharedLimiter) -> None:
    """Until the store has been looked for again and again."""
    with asked(limiter) as scripts:

        async def again() -> bool:
            return scripts.count(PROBE) >= 3

        await until(again)
