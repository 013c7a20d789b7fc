"""What two servers let in together, each with 20 threads of clients: the limit, also while the store is restarted."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.store import Store
from cc_serve.config import store as config
from cc_serve.config.configuration import KeyLimits
from tests.support.store import running_store

KEPT = ("--appendonly", "yes", "--appendfsync", "always")
THREADS = 20


def _hammer(url: str, rates: dict[str, int], seconds: float, go: Any, results: Any) -> None:
    """A server's part, in a process of its own: its limiter on a loop, and 20 threads that ask it as clients do.

    Each goes on for ``seconds``, and on a busy machine until it is told that the limit is reached.
    """
    loop = asyncio.new_event_loop()
    limiter = SharedLimiter(Store(config.Store.model_validate({"url": url, "on_error": "refuse"})))

    def client(_: int) -> int:
        admitted, end, reached = 0, time.monotonic() + seconds, False
        while time.monotonic() < end or not reached:
            asked = limiter.admit("alice", KeyLimits.model_validate(rates), take=True)
            place = asyncio.run_coroutine_threadsafe(asked, loop).result(60)
            admitted += place.refusal is None
            reached = place.refusal is not None and place.refusal.limit == "requests_per_minute"
            time.sleep(0.001)
        return admitted

    def main() -> None:
        go.wait()
        with ThreadPoolExecutor(THREADS) as threads:
            results.put(sum(threads.map(client, range(THREADS))))
        loop.call_soon_threadsafe(loop.stop)

    ThreadPoolExecutor(1).submit(main)
    loop.run_forever()


@pytest.mark.parametrize("restarted", [False, True])
def test_the_sum_over_two_processes_is_the_limit(tmp_path: Path, restarted: bool) -> None:
    """Two servers with 20 threads each; the store, which keeps what it knows, may be restarted meanwhile."""
    limit, seconds = 1200, 2.0
    with running_store(tmp_path, *KEPT) as store:
        context = multiprocessing.get_context("spawn")
        go, results = context.Event(), context.Queue()
        workers = [
            context.Process(target=_hammer, args=(store.url, {"requests_per_minute": limit}, seconds, go, results))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        client = store.client()
        earliest = _now(client)
        go.set()
        while not client.exists("cc-serve:{alice}:rates"):
            time.sleep(0.001)
        latest = _now(client)
        if restarted:
            time.sleep(0.2)
            store.stop(signal.SIGTERM)
            time.sleep(0.3)
            store.start()
        admitted = sum(results.get(timeout=300) for _ in workers)
        for worker in workers:
            worker.join(30)
        at, used = (float(store.client().hget("cc-serve:{alice}:rates", field)) for field in ("at", "requests"))
        # What refilled since the first was let in, which was between these two moments.
        least, most = ((at - began) * limit / 60 for began in (latest, earliest))
        print(f"{restarted=}: limit {limit}, refilled {least:.1f} to {most:.1f}, used {used:.1f}, let in {admitted}")
        assert limit + least - 1 <= admitted <= limit + most + 1
        assert used + least - 1 <= admitted <= used + most + 1


def _now(client: redis.Redis) -> float:
    """The store's clock, which is the one that counts."""
    seconds, microseconds = client.time()  # type: ignore[misc]
    return float(seconds) + float(microseconds) / 1e6
