"""Two replicas restarted one after the other under load: how many streams break. None should.

Clients do what a load balancer does: they go to the other replica when one refuses them before an answer has begun.

    python -m loadtests.rolling_restart CHECKPOINT
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import httpx

from tests.ports import free_port

_TOKENS: Final = 400
_START_SECONDS: Final = 300
_STOP_SECONDS: Final = 60


class Replica:
    """One server, started again on the same port."""

    def __init__(self, checkpoint: Path, flags: list[str]) -> None:
        self.checkpoint = checkpoint
        self.flags = flags
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [Path(sys.executable).with_name("cc-serve"), "serve", self.checkpoint, "--port", str(self.port)]
        quiet = asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(*command, *self.flags, stdout=quiet, stderr=quiet)
        async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(base_url=self.address) as client:
            while True:
                try:
                    if (await client.get("/ready")).is_success:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.5)

    async def stop(self) -> int:
        """Stop it as a supervisor does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_SECONDS):
            return await self.process.wait()


class Load:
    """Clients that ask without pause, in streams, and count what became of them."""

    def __init__(self, replicas: list[Replica], model: str) -> None:
        self.replicas = replicas
        self.model = model
        self.counts: Counter[str] = Counter()
        self.over = False

    async def run(self, number: int) -> None:
        """Be one client."""
        async with httpx.AsyncClient(timeout=120) as client:
            turn = number
            while not self.over:
                outcome = await self._ask(client, self.replicas[turn % 2])
                self.counts[outcome] += 1
                turn += 1
                if outcome == "sent on":
                    await asyncio.sleep(0.05)

    async def _ask(self, client: httpx.AsyncClient, replica: Replica) -> str:
        messages = [{"role": "user", "content": "Wo ist der Bahnhof, bitte?"}]
        body = {"model": self.model, "messages": messages, "max_tokens": _TOKENS, "ignore_eos": True, "stream": True}
        begun = False
        try:
            async with client.stream("POST", f"{replica.address}/v1/chat/completions", json=body) as response:
                if response.status_code == 503 and "retry-after" in response.headers:
                    return "sent on"
                if not response.is_success:
                    return f"status {response.status_code}"
                begun, last = True, ""
                async for line in response.aiter_lines():
                    last = line or last
                    if '"error"' in line:
                        return "broken"
                return "finished" if last == "data: [DONE]" else "broken"
        except httpx.TransportError:
            return "broken" if begun else "sent on"


async def restart_both(checkpoint: Path, clients: int, flags: list[str]) -> Counter[str]:
    """Restart each of two replicas under the load of so many clients; what became of their requests."""
    replicas = [Replica(checkpoint, flags) for _ in range(2)]
    await asyncio.gather(*(replica.start() for replica in replicas))
    load = Load(replicas, checkpoint.resolve().name)
    tasks = [asyncio.create_task(load.run(number)) for number in range(clients)]
    try:
        for replica in replicas:
            await asyncio.sleep(2)
            load.counts[f"exit {await replica.stop()}"] += 1
            await replica.start()
        await asyncio.sleep(2)
        load.over = True
        await asyncio.gather(*tasks)
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas if replica.process.returncode is None))
    return load.counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clients", type=int, default=6)
    options, flags = parser.parse_known_args()
    counts = asyncio.run(restart_both(options.checkpoint, options.clients, flags))
    for outcome, count in sorted(counts.items()):
        print(f"{outcome:10} {count}")
    return 0 if set(counts) <= {"finished", "sent on", "exit 0"} else 1


if __name__ == "__main__":
    sys.exit(main())
