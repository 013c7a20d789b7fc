"""Two tenants on a full server, of which one sends ten times as much: who waits, with and without turns.

    python -m loadtests.tenants --seconds 30
    python -m loadtests.tenants --seconds 25 --clients 100 10 --at-once 16 --pool 23

Clients of both tenants ask again as soon as they are answered, or a second after a refusal. ``--pool`` sets
``limits.concurrent_requests``, and the server refuses requests beyond it. Without keys, all requests wait in one queue;
with a key for each tenant, the keys take turns. It prints a table and a line of JSON. The engine is real, and the model
tiny and random: shares mean something, and seconds do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp

from cc_serve.config.keys import hash_key
from tests.support.server import MODEL, save_served_checkpoint, started

MANY, FEW = "many", "few"
#: Weights of the keys by case; without keys, all requests wait in one queue.
CASES: Final[Mapping[str, Mapping[str, float]]] = {
    "one queue": {},
    "turns": {MANY: 1, FEW: 1},
    "turns, weight 3 for the few": {MANY: 1, FEW: 3},
}
_TOKENS: Final = 32
_RETRY_SECONDS: Final = 1.0
_COLUMNS: Final = ("case", "tenant", "clients", "answers", "share", "median wait, s", "refusals")


@dataclass
class Tenant:
    """A tenant's number of clients, seconds to the first token of what was answered, and number of refusals."""

    clients: int
    waits: list[float] = field(default_factory=list)
    refusals: int = 0


def rows(case: str, tenants: Mapping[str, Tenant]) -> list[str]:
    """A line of the table for each tenant."""
    answers = max(1, sum(len(tenant.waits) for tenant in tenants.values()))
    lines = []
    for name, tenant in tenants.items():
        count = len(tenant.waits)
        wait = f"{statistics.median(tenant.waits):.2f}" if count else "-"
        cells = (case, name, tenant.clients, count, f"{count / answers:.2f}", wait, tenant.refusals)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


async def load(address: str, tenants: Mapping[str, Tenant], seconds: float) -> None:
    """Have all clients ask for as long as ``seconds`` say, and note what they got by then."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Wo ist der Bahnhof, bitte?"}],
        "max_tokens": _TOKENS,
        "ignore_eos": True,
        "stream": True,
    }

    async def client(session: aiohttp.ClientSession, name: str, tenant: Tenant) -> None:
        while True:
            start = time.perf_counter()
            headers = {"x-api-key": name}
            async with session.post(f"{address}/v1/chat/completions", json=body, headers=headers) as response:
                refused = response.status == HTTPStatus.SERVICE_UNAVAILABLE
                if not refused:
                    response.raise_for_status()
                    await response.content.readline()
                    wait = time.perf_counter() - start
                    await response.read()
            if refused:
                tenant.refusals += 1
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                tenant.waits.append(wait)

    # A connection for each request: one that was idle may just be being closed by a server that is busy.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        senders = [(name, tenant) for name, tenant in tenants.items() for _ in range(tenant.clients)]
        clients = [asyncio.ensure_future(client(session, name, tenant)) for name, tenant in senders]
        await asyncio.wait(clients, timeout=seconds)
        failed = [each.exception() for each in clients if each.done()]
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    for error in filter(None, failed):
        raise error


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="of each case (default: %(default)s)")
    parser.add_argument("--clients", type=int, nargs=2, default=[20, 2], help="of each tenant (default: 20 2)")
    parser.add_argument("--at-once", type=int, default=2, help="answers that the engine runs (default: %(default)s)")
    parser.add_argument("--pool", type=int, help="limits.concurrent_requests (default: the server's)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    options = parser.parse_args()
    figures = {}
    table = [f"| {' | '.join(_COLUMNS)} |", f"| {' | '.join('---' for _ in _COLUMNS)} |"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint = save_served_checkpoint(folder)
        for case in options.cases:
            tenants = {name: Tenant(clients) for name, clients in zip((MANY, FEW), options.clients, strict=True)}
            keys = {name: {"sha256": hash_key(name), "weight": weight} for name, weight in CASES[case].items()}
            limits = {"concurrent_requests": options.pool} if options.pool else {}
            (folder / "server.yaml").write_text(json.dumps({"keys": keys, "limits": limits}))
            flags = ("--max-num-seqs", str(options.at_once), "--cc-config", str(folder / "server.yaml"))
            with started(checkpoint, folder / "log", *flags) as server:
                asyncio.run(load(server.address, tenants, options.seconds))
            table += rows(case, tenants)
            figures[case] = {name: [len(tenant.waits), tenant.refusals] for name, tenant in tenants.items()}
    print("\n".join(table))
    print(json.dumps({"seconds": options.seconds, "answers and refusals": figures}))


if __name__ == "__main__":
    main()
