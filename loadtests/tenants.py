"""Two tenants on a full server, of which one sends ten times as much: who waits, with and without turns.

    python -m loadtests.tenants --seconds 30

The engine runs two answers at a time. Twenty clients of one tenant and two of the other ask again as soon as they are
answered. Without keys all wait in one queue; with a key for each tenant, the keys take turns. It prints a table and a
line of JSON. The engine is real and the model tiny and random, so shares mean something and seconds do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from cc_serve.config.keys import hash_key
from tests.support.server import MODEL, save_served_checkpoint, started

MANY, FEW = "many", "few"
CLIENTS: Final = {MANY: 20, FEW: 2}
#: Weights of the keys by case; without keys, all requests wait in one queue.
CASES: Final[Mapping[str, Mapping[str, float]]] = {
    "one queue": {},
    "turns": {MANY: 1, FEW: 1},
    "turns, weight 3 for the few": {MANY: 1, FEW: 3},
}
_TOKENS: Final = 32
_AT_ONCE: Final = 2


@dataclass(frozen=True)
class Answered:
    """A request's sender, and its seconds to the first token."""

    tenant: str
    wait: float


def rows(case: str, answered: Sequence[Answered]) -> list[str]:
    """A line of the table for each tenant: its answers, their share, and its median wait."""
    lines = []
    for tenant, clients in CLIENTS.items():
        waits = [one.wait for one in answered if one.tenant == tenant]
        wait = f"{statistics.median(waits):.2f}" if waits else "-"
        lines.append(f"| {case} | {tenant} | {clients} | {len(waits)} | {len(waits) / len(answered):.2f} | {wait} |")
    return lines


async def load(address: str, seconds: float) -> list[Answered]:
    """Have all clients ask for as long as ``seconds`` say; what was answered by then."""
    answered: list[Answered] = []
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Wo ist der Bahnhof, bitte?"}],
        "max_tokens": _TOKENS,
        "ignore_eos": True,
        "stream": True,
    }

    async def client(session: aiohttp.ClientSession, tenant: str) -> None:
        while True:
            start = time.perf_counter()
            headers = {"x-api-key": tenant}
            async with session.post(f"{address}/v1/chat/completions", json=body, headers=headers) as response:
                response.raise_for_status()
                await response.content.readline()
                wait = time.perf_counter() - start
                await response.read()
            answered.append(Answered(tenant, wait))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [asyncio.ensure_future(client(session, tenant)) for tenant, n in CLIENTS.items() for _ in range(n)]
        await asyncio.wait(clients, timeout=seconds)
        failed = [each.exception() for each in clients if each.done()]
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    for error in filter(None, failed):
        raise error
    return answered


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="of each case (default: %(default)s)")
    seconds = parser.parse_args().seconds
    figures = {}
    table = ["| case | tenant | clients | answers | share | median wait, s |", "| --- | --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint = save_served_checkpoint(folder)
        for case, weights in CASES.items():
            keys = [f"  {name}: {{sha256: {hash_key(name)}, weight: {weight}}}" for name, weight in weights.items()]
            (folder / "server.yaml").write_text("\n".join(["keys:", *keys]) if keys else "{}")
            flags = ("--max-num-seqs", str(_AT_ONCE), "--cc-config", str(folder / "server.yaml"))
            with started(checkpoint, folder / "log", *flags) as server:
                answered = asyncio.run(load(server.address, seconds))
            table += rows(case, answered)
            figures[case] = {tenant: [one.wait for one in answered if one.tenant == tenant] for tenant in CLIENTS}
    print("\n".join(table))
    shares = {case: {tenant: len(waits) for tenant, waits in found.items()} for case, found in figures.items()}
    print(json.dumps({"seconds": seconds, "answers": shares}))


if __name__ == "__main__":
    main()
