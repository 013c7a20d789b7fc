"""The limits of keys are written twice, in Python and in the store's Lua. The same cases run through both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from cc_serve.api.tenants.limiter import Limiter, Place
from cc_serve.api.tenants.memory import MemoryLimiter
from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.store import Store
from cc_serve.config import store as config
from cc_serve.config.configuration import KeyLimits
from tests.support.store import StoreServer, running_store

ASK, LOOK, LEAVE = "ask", "look", "leave"  # to be let in, only to know, and to end the first request that runs
Step = tuple[Any, ...]


def budget(**amounts: int) -> dict[str, Any]:
    return {"budget": amounts}


#: A key's limits, and what happens: a step, with the limit that refuses it or how many tokens the last request charges.
CASES: dict[str, tuple[dict[str, Any], list[Step]]] = {
    "requests a minute": (
        {"requests_per_minute": 2},
        [(ASK, None), (LOOK, None), (LOOK, None), (ASK, None), (LOOK, "requests_per_minute")],
    ),
    "a refused request counts nothing": (
        {"requests_per_minute": 2, "concurrent_requests": 1},
        [(ASK, None), *[(ASK, "concurrent_requests_per_key")] * 3, (LEAVE,), (ASK, None), (ASK, "requests_per_minute")],
    ),
    "tokens a minute": (
        {"tokens_per_minute": 10},
        [(ASK, None), ("charge", 9), (ASK, None), ("charge", 2), (ASK, "tokens_per_minute")],
    ),
    "more tokens than a minute's": (
        {"tokens_per_minute": 3},
        [(ASK, None), ("charge", 50), (ASK, "tokens_per_minute")],
    ),
    "at the same time": (
        {"concurrent_requests": 2},
        [(ASK, None), (ASK, None), (LOOK, "concurrent_requests_per_key"), (LEAVE,), (LOOK, None), (ASK, None)],
    ),
    "requests a day": (budget(requests_per_day=2), [(ASK, None), (ASK, None), (ASK, "requests_per_day")]),
    "requests a month": (budget(requests_per_month=1), [(LOOK, None), (ASK, None), (ASK, "requests_per_month")]),
    "tokens a day": (
        budget(tokens_per_day=10),
        [(ASK, None), ("charge", 9), (ASK, None), ("charge", 1), (ASK, "tokens_per_day")],
    ),
    "tokens a month": (budget(tokens_per_month=10), [(ASK, None), ("charge", 11), (ASK, "tokens_per_month")]),
    "tokens a day before requests a month": (
        budget(tokens_per_day=1, requests_per_month=1, tokens_per_month=1),
        [(ASK, None), ("charge", 1), (ASK, "tokens_per_day")],
    ),
    "a day's requests before a day's tokens": (
        budget(requests_per_day=1, tokens_per_day=1),
        [(ASK, None), ("charge", 1), (ASK, "requests_per_day")],
    ),
    "a month's requests before a month's tokens": (
        budget(requests_per_month=1, tokens_per_month=1),
        [(ASK, None), ("charge", 1), (ASK, "requests_per_month")],
    ),
    "rates before budgets": (
        {"tokens_per_minute": 1, **budget(requests_per_day=1)},
        [(ASK, None), ("charge", 1), (ASK, "tokens_per_minute")],
    ),
    "requests before tokens": (
        {"requests_per_minute": 1, "tokens_per_minute": 1},
        [(ASK, None), ("charge", 1), (ASK, "requests_per_minute")],
    ),
    "budgets before what runs": (
        {"concurrent_requests": 1, **budget(requests_per_day=1)},
        [(ASK, None), (ASK, "requests_per_day")],
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


async def walk(limiter: Limiter, key_limits: KeyLimits, steps: list[Step]) -> list[tuple[str | None, dict[str, int]]]:
    """Which limit refused each question, and what is left of each rate."""
    seen, running = [], list[Place]()
    for what, *about in steps:
        if what == LEAVE:
            await running.pop(0).leave()
        elif what == "charge":
            running[-1].charge(*about)
        else:
            place = await limiter.admit("alice", key_limits, take=what == ASK)
            left = {kind: allowance.remaining for kind, allowance in place.allowances().items()}
            seen.append((place.refusal and place.refusal.limit, left))
            if what == ASK and place.refusal is None:
                running.append(place)
    for place in running:
        await place.leave()
    return seen


@pytest.mark.parametrize("case", CASES)
def test_memory_and_store_decide_alike(server: StoreServer, case: str) -> None:
    given, steps = CASES[case]
    server.client().flushall()

    async def both() -> list[list[tuple[str | None, dict[str, int]]]]:
        key_limits = KeyLimits.model_validate(given)
        store = Store(config.Store.model_validate({"url": server.url, "timeout_seconds": 30}))
        shared = SharedLimiter(store)
        try:
            return [await walk(limiter, key_limits, steps) for limiter in (MemoryLimiter(), shared)]
        finally:
            await shared.close()
            await store.close()

    memory, store = asyncio.run(both())
    assert [refused for refused, _ in memory] == [about[0] for what, *about in steps if what in (ASK, LOOK)]
    assert store == memory
