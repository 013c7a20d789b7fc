"""Two replicas behind a router: what passes through it, and what is lost when a replica is killed or restarted.

    python -m loadtests.router CHECKPOINT

Options that this command does not know go to the servers. Clients know the router only: a request that it does not send
on is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from loadtests.replicas import BROKEN, FINISHED, Load, Replica, wait_until_ready
from tests.support.ports import free_port
from tests.support.programs import installed

_CHAT: Final = "/v1/chat/completions"
_GERMAN: Final = [{"role": "user", "content": "Wo ist der Bahnhof, bitte?"}]


def vllm_router(port: int, replicas: list[Replica]) -> list[str]:
    """The command of the `vllm-router` package, which sends on to others what a lost replica was asked."""
    health = (
        "--health-check-endpoint",
        "/ready",
        "--health-check-interval-secs",
        "1",
        "--health-failure-threshold",
        "1",
    )
    return [
        *(installed("vllm-router"), "--port", str(port)),
        *("--worker-urls", *(replica.address for replica in replicas), "--policy", "cache_aware"),
        *(*health, "--health-check-timeout-secs", "1", "--health-success-threshold", "1"),
        *("--cb-failure-threshold", "1", "--cb-success-threshold", "1", "--cb-timeout-duration-secs", "2"),
        *("--worker-startup-check-interval", "1", "--prometheus-port", str(free_port())),
    ]


@asynccontextmanager
async def started(command: list[str], address: str, log: Path) -> AsyncIterator[None]:
    """Run a router until the block ends."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        await wait_until_ready(f"{address}/v1/models")
        yield
    finally:
        process.terminate()
        await process.wait()


async def passing_through(address: str, model: str) -> dict[str, bool]:
    """Which parts of this project's API pass through the router, in both directions."""
    body: dict[str, Any] = {"model": model, "messages": _GERMAN, "max_tokens": 16, "temperature": 0}
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        connected = await client.post(_CHAT, json={**body, "cc_details": True}, headers={"X-Request-Id": "one"})
        plain = await client.post(_CHAT, json={**body, "cc_connection": "off"})
        wrong = await client.post(_CHAT, json={**body, "cc_connection": "xx"})
        route = await client.post("/v1/route", json=body)
        languages = await client.get("/v1/languages")
        times = []
        clock = asyncio.get_running_loop().time
        async with client.stream(
            "POST", _CHAT, json={**body, "stream": True, "max_tokens": 64, "ignore_eos": True}
        ) as stream:
            async for _ in stream.aiter_bytes():
                times.append(clock())
    return {
        "X-CC-Language": connected.headers.get("X-CC-Language") == "de",
        "X-CC-Connection": connected.headers.get("X-CC-Connection") not in (None, "off"),
        "X-Request-Id": connected.headers.get("X-Request-Id") == "one",
        "cc_connection": plain.headers.get("X-CC-Connection") == "off",
        "cc_details": connected.is_success and "cc_connection" in connected.json(),
        "error as it is": wrong.status_code == 400 and "unknown cc_connection" in wrong.text,
        "POST /v1/route": route.is_success,
        "GET /v1/languages": languages.is_success,
        "stream, piece by piece": len(times) > 10 and times[-1] - times[0] > 0.01,
    }


async def under_load(
    address: str, model: str, clients: int, disturb: Callable[[Load], Awaitable[None]]
) -> Counter[str]:
    """Count what became of requests while ``disturb`` ran, and in the seconds before and after."""
    load = Load([address], model)
    tasks = [asyncio.create_task(load.run(number)) for number in range(clients)]
    await asyncio.sleep(3)
    await disturb(load)
    await asyncio.sleep(3)
    load.over = True
    await asyncio.gather(*tasks)
    return load.counts


async def measure(options: argparse.Namespace, flags: list[str], folder: Path) -> bool:
    """Measure everything, and return whether only streams were lost that a killed replica had begun."""
    replicas = [Replica(options.checkpoint, flags) for _ in range(2)]
    port = free_port()
    address, model = f"http://127.0.0.1:{port}", options.checkpoint.resolve().name
    await asyncio.gather(*(replica.start() for replica in replicas))
    command = vllm_router(port, replicas)

    async def kill(_load: Load) -> None:
        await replicas[0].kill()

    async def restart(load: Load) -> None:
        for replica in replicas:
            load.counts[f"exit {await replica.stop()}"] += 1
            await replica.start()
            await asyncio.sleep(options.settle)

    try:
        async with started(command, address, options.log or folder / "router.log"):
            passed = await passing_through(address, model)
            print(
                "passes:", ", ".join(f"{name} {'yes' if there else 'NO'}" for name, there in passed.items()), flush=True
            )
            killed = await under_load(address, model, options.clients, kill)
            print("a replica killed:", dict(killed), flush=True)
            await replicas[0].start()
            await asyncio.sleep(options.settle)
            restarted = await under_load(address, model, options.clients, restart)
            print("rolling restart:", dict(restarted), flush=True)
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas if replica.process.returncode is None))
    return set(killed) <= {FINISHED, BROKEN} and set(restarted) <= {FINISHED, "exit 0"}


def main() -> int:
    """Measure; the exit code is 1 when something was lost that need not be lost."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.router", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--settle", type=float, default=5, help="seconds until the router knows of a new replica")
    parser.add_argument("--log", type=Path, help="of the router")
    options, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(measure(options, flags, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
