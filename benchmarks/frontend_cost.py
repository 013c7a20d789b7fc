"""What the front end costs: processor time of the API processes for each request and for each streamed token.

``python -m benchmarks.frontend_cost`` asks two kinds of servers, each with one API process and with two: this server's
application over an engine that answers at once, whose throughput is the front end's, and a real server over a tiny
model, whose processor time includes tokens, detokenizing and the way to the engine. Clients send one request after the
other on connections that stay open: short streams first, then long ones, and the difference is the tokens'. It prints
a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import httpx
import psutil
import uvloop

from benchmarks.stub import PATH, serve_shared
from tests.support.server import MODEL, save_served_checkpoint, started

LENGTHS: Final = (1, 65)
TEXT: Final = "Wo ist der nächste Bahnhof, und wann fährt heute Abend der letzte Zug an die Küste?"
_LAST: Final = b"0\r\n\r\n"


class _Client(asyncio.Protocol):
    """Sends the same request again as soon as its answer is over; it costs next to nothing itself.

    Args:
        request: the bytes to send.
        until: by `time.monotonic`; what has begun by then is finished.
    """

    def __init__(self, request: bytes, until: float) -> None:
        self._request = request
        self._until = until
        self._tail = b""
        self.requests = 0
        self.events = 0
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"data: {")
        self._tail = (self._tail + data)[-len(_LAST) :]
        if self._tail != _LAST:
            return
        self.requests += 1
        if time.monotonic() < self._until:
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set_result(None)


async def _drive(port: int, model: str, tokens: int, clients: int, seconds: float) -> tuple[int, int, float]:
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": TEXT}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }
    ).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    start = time.monotonic()
    loop = asyncio.get_running_loop()
    running = []
    for _ in range(clients):
        _, client = await loop.create_connection(
            lambda: _Client(head.encode() + body, start + seconds), "127.0.0.1", port
        )
        running.append(client)
    await asyncio.gather(*(client.over for client in running))
    took = time.monotonic() - start
    return sum(client.requests for client in running), sum(client.events for client in running), took


def _processor_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)  # without its children


def measure(port: int, model: str, pids: Sequence[int], options: argparse.Namespace) -> dict[str, float]:
    """Costs and throughput of one server, whose API processes are ``pids``."""
    processes = [psutil.Process(pid) for pid in pids]
    uvloop.run(_drive(port, model, LENGTHS[0], options.clients, 2))
    costs, rates, shares = [], [], []
    for tokens in LENGTHS:
        before = _processor_seconds(processes)
        requests, events, took = uvloop.run(_drive(port, model, tokens, options.clients, options.seconds))
        costs.append(1000 * (_processor_seconds(processes) - before) / requests)
        rates.append(requests / took)
        shares.append(events / requests)
    more = LENGTHS[1] - LENGTHS[0]
    per_token = (costs[1] - costs[0]) / more
    return {
        "ms_request": round(costs[0] - per_token, 3),
        "ms_token": round(per_token, 4),
        "short_requests_s": round(rates[0], 1),
        "tokens_s": round(rates[1] * LENGTHS[1], 0),
        "events_a_token": round((shares[1] - shares[0]) / more, 2),
    }


@contextmanager
def stub_server(count: int) -> Iterator[tuple[int, list[int]]]:
    """The port, and the processes, of a server without an engine."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as sock:
        port = sock.getsockname()[1]
        loads = context.RawArray("i", [2**31 - 1] * count)
        processes = [
            context.Process(target=serve_shared, args=(sock, loads, index), daemon=True) for index in range(count)
        ]
        for process in processes:
            process.start()
        try:
            while max(loads) == 2**31 - 1:
                time.sleep(0.1)
            yield port, [process.pid or 0 for process in processes]
        finally:
            for process in processes:
                process.terminate()
                process.join()


@contextmanager
def real_server(checkpoint: Path, count: int) -> Iterator[tuple[int, list[int]]]:
    """The same of a real server over a tiny model."""
    log = checkpoint.with_name("log")
    with started(checkpoint, log, "--api-server-count", str(count), "--disable-uvicorn-access-log") as server:
        while "ready after" not in log.read_text():
            time.sleep(0.2)
        children = psutil.Process(server.process.pid).children()
        fronts = [child.pid for child in children if "APIServer" in " ".join(child.cmdline())]
        yield httpx.URL(server.address).port or 0, fronts or [server.process.pid]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.frontend_cost", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="API processes (default: 1 2)")
    parser.add_argument("--engines", nargs="+", choices=("stub", "tiny"), default=["stub", "tiny"])
    parser.add_argument("--clients", type=int, default=16, help="at the same time (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_served_checkpoint(Path(folder)) if "tiny" in options.engines else Path(folder)
        for engine in options.engines:
            for count in options.processes:
                server = stub_server(count) if engine == "stub" else real_server(checkpoint, count)
                with server as (port, pids):
                    measured = measure(port, "stub" if engine == "stub" else MODEL, pids, options)
                rows.append({"engine": engine, "processes": count, **measured})
                if len(rows) == 1:
                    print("".join(f"{name:>18}" for name in rows[0]))
                print("".join(f"{value:>18}" for value in rows[-1].values()), flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
