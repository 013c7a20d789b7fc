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
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from tests.support.server import MODEL, save_served_checkpoint, started

TEXTS: Final = (
    "Where is the train station, please?",
    "Wo ist der Bahnhof, bitte?",
    "Comment allez-vous aujourd'hui ?",
    "Kituo cha treni kiko wapi?",
    "Где ближайший вокзал?",
    "一番近い駅はどこですか。",
    "123",
    "",
)
# A small KV cache, which is soon full: memory grows while its pages are used for the first time, and that is no leak.
FLAGS: Final = ("--disable-uvicorn-access-log", "--num-gpu-blocks-override", "64")
CHAT: Final = "/v1/chat/completions"
MOST_GROWTH: Final = 0.02
SETTLE_SECONDS: Final = 5.0


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
            kind = self.random.choices(("whole", "stream", "leave", "wrong"), (4, 4, 2, 2))[0]
            self.sent += 1
            try:
                seen = await self._ask(session, kind)
            except (aiohttp.ClientError, TimeoutError) as error:
                seen = type(error).__name__
            self.seen[f"{kind}: {seen}"] += 1
            self.slowest = max(self.slowest, time.monotonic() - start)

    async def _ask(self, session: aiohttp.ClientSession, kind: str) -> str:
        body: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"{self.random.choice(TEXTS)} {self.random.randrange(1000)}"}],
            "max_tokens": self.random.randrange(1, 60),
            "stream": kind in ("stream", "leave"),
        }
        if kind == "leave":
            body |= {"max_tokens": 400, "ignore_eos": True}
        if kind == "wrong":
            wrong: list[dict[str, Any]] = [
                {"temperature": -1},
                {"cc_connection": "xx"},
                {"model": "other"},
                {"messages": [{"role": "user", "content": "a" * 2000}]},
                {"vllm_xargs": {"cc_connection": "de"}},
                {"messages": 5},
            ]
            body |= self.random.choice(wrong)
        async with session.post(self.address + CHAT, json=body) as response:
            if kind == "leave":
                async for _ in response.content:
                    if self.random.random() < 0.2:
                        response.close()
                        return "left"
            await response.read()
            return str(response.status)


def memory(process: psutil.Process) -> int:
    """Bytes that the server's processes have for themselves."""
    return sum(each.memory_full_info().uss for each in (process, *process.children(recursive=True)))


async def metrics(session: aiohttp.ClientSession, address: str) -> dict[str, float]:
    """The value of every sample of ``/metrics``, by its name and labels."""
    async with session.get(address + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#") if name
    }


async def soak(address: str, process: psutil.Process, options: argparse.Namespace) -> dict[str, Any]:
    """Send for ``--minutes``, and report."""
    load = Soak(address, options.seed)
    timeout = aiohttp.ClientTimeout(total=120)
    # A new connection for each request: a request on a kept one is lost, uncounted, if the server closes it just then.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
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
    outcomes: Counter[str] = Counter()
    for name, value in final.items():
        if found := re.match(r'cc:requests_total\{.*outcome="(\w+)"', name):
            outcomes[found[1]] += int(value)
    stuck = sum(value for name, value in final.items() if re.match(r"vllm:num_requests_(running|waiting)\{", name))
    return {
        "minutes": options.minutes,
        "sent": load.sent,
        "outcomes": dict(sorted(outcomes.items())),
        "seen": dict(sorted(load.seen.items())),
        "slowest_seconds": round(load.slowest, 1),
        "memory_mib": [round(size / 2**20, 1) for size in (warm[0], warm[-1], max(warm))],
        "growth": round(growth, 4),
        "stuck": int(stuck),
        "holds": {
            "memory": growth <= MOST_GROWTH,
            "nothing stuck": stuck == 0,
            "requests = outcomes": load.sent == sum(outcomes.values()),
            "no server error": outcomes["server_error"] == 0,
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
