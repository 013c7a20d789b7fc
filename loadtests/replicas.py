"""Servers that can be killed and restarted, and clients that count what becomes of their streams meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Final

import httpx

from tests.support.ports import free_port
from tests.support.programs import serve_command

TOKENS: Final = 400
_START_SECONDS: Final = 300
_STOP_SECONDS: Final = 60

#: What became of a request. `BROKEN`: the stream ended after its first event. `SILENT`: a response began, but no event
#: came. `UNANSWERED`: the connection failed before. `REFUSED`: 503, to be sent elsewhere. Or ``status`` and a number.
FINISHED, BROKEN, SILENT, UNANSWERED, REFUSED = "finished", "broken", "silent", "unanswered", "refused"


class Replica:
    """One server. Whenever it is started again, it has the same port."""

    def __init__(self, checkpoint: Path, flags: list[str]) -> None:
        self.checkpoint = checkpoint
        self.flags = flags
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        quiet = asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(
            *serve_command(self.checkpoint, self.port),
            *self.flags,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )
        await wait_until_ready(f"{self.address}/ready")

    async def stop(self) -> int:
        """Stop it as a supervisor does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_SECONDS):
            return await self.process.wait()

    async def kill(self) -> None:
        """Kill all of its processes at once, as when a machine fails."""
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


async def wait_until_ready(url: str) -> None:
    """Wait until ``url`` answers with success.

    Raises:
        TimeoutError: it did not within `_START_SECONDS`.
    """
    async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.5)


class Load:
    """Clients that ask for streams without pause, and count what becomes of them.

    Args:
        addresses: the servers, which each client asks in turns.
        model: the model that requests name.
        tokens: length of each answer.
    """

    def __init__(self, addresses: list[str], model: str, tokens: int = TOKENS) -> None:
        self.addresses = addresses
        self.model = model
        self.tokens = tokens
        self.counts: Counter[str] = Counter()
        self.over = False

    async def run(self, number: int) -> None:
        """One client: ask until the load is over."""
        async with httpx.AsyncClient(timeout=120) as client:
            turn = number
            while not self.over:
                outcome = await self._ask(client, self.addresses[turn % len(self.addresses)])
                self.counts[outcome] += 1
                turn += 1
                if outcome in (REFUSED, UNANSWERED):
                    await asyncio.sleep(0.05)

    async def _ask(self, client: httpx.AsyncClient, address: str) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "Wo ist der Bahnhof, bitte?"}],
            "max_tokens": self.tokens,
            "ignore_eos": True,
            "stream": True,
        }
        failure, last = UNANSWERED, ""
        try:
            async with client.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
                if response.status_code == 503 and "retry-after" in response.headers:
                    return REFUSED
                if not response.is_success:
                    return f"status {response.status_code}"
                failure = SILENT
                async for line in response.aiter_lines():
                    if '"error"' in line:
                        return failure
                    if line:
                        failure, last = BROKEN, line
                return FINISHED if last == "data: [DONE]" else failure
        except httpx.TransportError:
            return failure
