"""What this server adds to a request, over vLLM's own HTTP server and an engine that answers at once.

``python -m benchmarks.frontend_bench`` starts both applications, sends the same requests at the same times to
one and the other in turns, and prints a table and one line of JSON. Latencies are the client's, from sending the
request to the last byte of the answer, in milliseconds.

With ``--store redis://...`` it compares this server with itself instead: with limits that it keeps by itself, and with
the same limits in that store.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from fastapi import FastAPI

from benchmarks.stub import PATH, serve, stub_app
from tests.support.ports import free_port

TEXTS = {
    "en": "Where is the next train station, and when does the last train to the coast leave tonight?",
    "de": "Wo ist der nächste Bahnhof, und wann fährt heute Abend der letzte Zug an die Küste?",
    "sw": "Kituo cha treni kilicho karibu kiko wapi, na treni ya mwisho kwenda pwani inaondoka saa ngapi leo usiku?",
    "ru": "Где ближайший вокзал, и когда сегодня вечером отправляется последний поезд к морю?",
    "ja": "一番近い駅はどこですか。今夜、海岸行きの最終列車は何時に出ますか。",
}
STOCK, OURS = "vLLM", "cc-serve"
ALONE, SHARED = "no store", "store"
# Every kind of limit, none of which is reached.
_LIMITS = "requests_per_minute: 100000000, tokens_per_minute: 10000000000, concurrent_requests: 100000"


def bodies(repeat: int) -> list[bytes]:
    """Chat requests in five languages, streamed and not, with ``repeat`` sentences each."""
    return [
        json.dumps(
            {"model": "stub", "messages": [{"role": "user", "content": " ".join([text] * repeat)}], "stream": stream}
        ).encode()
        for text, stream in itertools.product(TEXTS.values(), (False, True))
    ]


async def drive(port: int, rate: float, seconds: float, requests: list[bytes]) -> list[float]:
    """Latencies in milliseconds of requests sent every 1 / ``rate`` seconds, whether others are done or not."""
    latencies: list[float] = []
    url = f"http://127.0.0.1:{port}{PATH}"
    headers = {"Content-Type": "application/json"}

    async def ask(session: aiohttp.ClientSession, body: bytes) -> None:
        start = time.perf_counter()
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}: {await response.text()}")
        latencies.append(1000 * (time.perf_counter() - start))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256)) as session:
        running: list[asyncio.Task[None]] = []
        start = time.perf_counter()
        for number, body in zip(range(int(rate * seconds)), itertools.cycle(requests), strict=False):
            if (wait := start + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            running.append(asyncio.create_task(ask(session, body)))
        await asyncio.gather(*running)
        achieved = len(running) / (time.perf_counter() - start)
    if achieved < 0.95 * rate:
        print(f"  only {achieved:.0f} of {rate:.0f} requests/s were served: the machine is the limit")
    return latencies


async def in_process(app: FastAPI, requests: list[bytes], count: int) -> list[float]:
    """Milliseconds of ``count`` requests, one after the other, to the application itself, without network or client."""
    headers = [(b"content-type", b"application/json"), (b"host", b"bench")]
    took: list[float] = []
    for body in itertools.islice(itertools.cycle(requests), count):
        over = asyncio.Event()
        given = False

        async def receive(body: bytes = body, over: asyncio.Event = over) -> dict[str, object]:
            nonlocal given
            if given:
                await over.wait()
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: object) -> None:
            pass

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "asgi": {"spec_version": "2.3"},
        }
        start = time.perf_counter()
        await app(scope, receive, send)
        took.append(1000 * (time.perf_counter() - start))
        over.set()
    return took[count // 10 :]


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile."""
    cuts = statistics.quantiles(values, n=100)
    return {"median": round(cuts[49], 3), "p90": round(cuts[89], 3), "p99": round(cuts[98], 3)}


def show(title: str, measured: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print a table, and give its figures."""
    rows = {name: quantiles(values) for name, values in measured.items()}
    first, second = rows
    rows["added"] = {key: round(rows[second][key] - rows[first][key], 3) for key in rows[first]}
    print(f"{title}\n  {'ms':<10}" + "".join(f"{key:>10}" for key in rows[first]))
    for name, row in rows.items():
        print(f"  {name:<10}" + "".join(f"{value:>10.3f}" for value in row.values()))
    return rows


async def measure(
    ports: dict[str, int], files: dict[str, Path | None], options: argparse.Namespace
) -> dict[str, object]:
    """Everything, in turns, so that neighbours on the machine disturb both alike."""
    requests = bodies(options.sentences)
    over_http: dict[str, list[float]] = {name: [] for name in ports}
    for name in ports:
        await drive(ports[name], options.rate / 2, 2, requests)
    for turn in range(options.turns):
        for name in sorted(ports, reverse=turn % 2 == 0):
            over_http[name] += await drive(ports[name], options.rate, options.seconds, requests)
    alone: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(3):
        for name in ports:
            alone[name] += await in_process(stub_app(ours=name != STOCK, configuration=files[name]), requests, 500)
    return {
        "rate": options.rate,
        "body_bytes": round(statistics.mean(map(len, requests))),
        "http": show(f"{options.rate:.0f} requests/s over HTTP, {len(next(iter(over_http.values())))} each", over_http),
        "in_process": show("one after the other, in process", alone),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.frontend_bench", description=__doc__)
    parser.add_argument("--rate", type=float, default=500, help="requests/s (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of each turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of each application (default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=2, help="in each prompt (default: %(default)s)")
    parser.add_argument("--store", metavar="URL", help="of a store, whose cost is measured")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        files: dict[str, Path | None] = {STOCK: None, OURS: None}
        if options.store:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            stores = {ALONE: "", SHARED: f", store: '{options.store}'"}
            files = {name: folder / f"{name}.yaml" for name in stores}
            for name, store in stores.items():
                (folder / f"{name}.yaml").write_text(f"limits: {{per_key: {{{_LIMITS}}}{store}}}")
        ports = {name: free_port() for name in files}
        for name, port in ports.items():
            process = context.Process(target=serve, args=(port, name != STOCK, files[name]), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
        print(json.dumps(asyncio.run(_when_listening(ports, files, options))))


async def _when_listening(
    ports: dict[str, int], files: dict[str, Path | None], options: argparse.Namespace
) -> dict[str, object]:
    async with aiohttp.ClientSession() as session:
        for port in ports.values():
            for _ in range(240):
                try:
                    async with session.get(f"http://127.0.0.1:{port}/version"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.25)
    return await measure(ports, files, options)


if __name__ == "__main__":
    main()
