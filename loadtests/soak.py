"""Hours of traffic in minutes: languages, streams, clients that leave, and bad requests, against a tiny server.

    python -m loadtests.soak --minutes 20

starts a server over a tiny random model and sends. Then it says whether memory stayed flat (after a warm-up, over all
of the server's processes), whether a request is stuck, and whether the counters add up: requests sent are the sum of
outcomes. It prints a table and a line of JSON. The exit code is 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from loadtests.mixed_traffic import (
    CHAT,
    FLAGS,
    SETTLE_SECONDS,
    Kind,
    body_of,
    memory,
    metrics,
    open_session,
    outcomes,
    stuck,
)
from tests.support.server import save_served_checkpoint, started

MOST_GROWTH: Final = 0.02


class Soak:
    """The clients of one run.

    Args:
        address: URL of the server.
        seed: decides what they send.
    """

    def __init__(self, address: str, seed: int) -> None:
        self.address = address
        self.random = random.Random(seed)
        self.sent = 0
        self.seen: Counter[str] = Counter()
        self.slowest = 0.0

    async def client(self, session: aiohttp.ClientSession, end: float) -> None:
        """Send one request after the other until ``end``, and count what comes back."""
        while time.monotonic() < end:
            start = time.monotonic()
            kind = self.random.choices(list(Kind), (4, 4, 2, 2))[0]
            self.sent += 1
            try:
                seen = await self._ask(session, kind)
            except (aiohttp.ClientError, TimeoutError) as error:
                seen = type(error).__name__
            self.seen[f"{kind}: {seen}"] += 1
            self.slowest = max(self.slowest, time.monotonic() - start)

    async def _ask(self, session: aiohttp.ClientSession, kind: Kind) -> str:
        async with session.post(self.address + CHAT, json=body_of(kind, self.random)) as response:
            if kind == Kind.LEAVE:
                async for _ in response.content:
                    if self.random.random() < 0.2:
                        response.close()
                        return "left"
            await response.read()
            return str(response.status)


async def soak(address: str, process: psutil.Process, options: argparse.Namespace) -> dict[str, Any]:
    """Send for ``--minutes``, and report."""
    load = Soak(address, options.seed)
    async with open_session() as session:
        start = time.monotonic()
        end = start + 60 * options.minutes
        clients = [asyncio.create_task(load.client(session, end)) for _ in range(options.clients)]
        held: list[tuple[float, int]] = []
        while time.monotonic() < end:
            await asyncio.sleep(min(10, 60 * options.minutes / 20))
            held.append((time.monotonic() - start, memory(process)))
            print(f"{held[-1][0]:6.0f} s {held[-1][1] / 2**20:8.1f} MiB {load.sent:8} requests", flush=True)
        await asyncio.gather(*clients)
        await asyncio.sleep(SETTLE_SECONDS)
        final = await metrics(session, address)
    warm = [size for seconds, size in held if seconds >= 60 * options.minutes * options.warm_up]
    third = max(1, len(warm) // 3)
    growth = sum(warm[-third:]) / sum(warm[:third]) - 1
    counted, waiting = outcomes(final), stuck(final)
    return {
        "minutes": options.minutes,
        "sent": load.sent,
        "outcomes": dict(sorted(counted.items())),
        "seen": dict(sorted(load.seen.items())),
        "slowest_seconds": round(load.slowest, 1),
        "memory_mib": [round(size / 2**20, 1) for size in (warm[0], warm[-1], max(warm))],
        "growth": round(growth, 4),
        "stuck": waiting,
        "holds": {
            "memory": growth <= MOST_GROWTH,
            "nothing stuck": waiting == 0,
            "requests = outcomes": load.sent == sum(counted.values()),
            "no server error": counted["server_error"] == 0,
        },
    }


def main() -> int:
    """Run and print; the exit code is 1 when something did not hold."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=8, help="that send at the same time (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=0.25, help="share of the time before memory is compared")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with started(save_served_checkpoint(folder), folder / "log", *FLAGS) as server:
            report = asyncio.run(soak(server.address, psutil.Process(server.process.pid), options))
    for name, value in report.items():
        print(f"{name:>16}: {value}")
    print(json.dumps(report))
    return 0 if all(report["holds"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
