"""Mixed traffic over two replicas with a store, while one is killed, the store is restarted, and both are restarted.

    python -m loadtests.fleet_soak --seconds 1200

The replicas serve a tiny random model by real engines, so the load is on everything but the matrix products. Clients go
to the other replica when one refuses them or does not answer, as behind a router. A summary goes to
``outputs/soak/summary.md`` and ``.json``; the exit code is 1 when something does not hold. ``loadtests.soak`` sends to
one server, for longer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from cc_serve.config.keys import hash_key
from loadtests.fleet_report import (
    BROKEN,
    FINISHED,
    LEFT,
    REFUSED,
    UNANSWERED,
    WRONG,
    Asked,
    Life,
    Told,
    as_markdown,
    judge,
)
from loadtests.mixed_traffic import (
    CHAT,
    FLAGS,
    SETTLE_SECONDS,
    WRONG_STATUSES,
    Kind,
    body_of,
    memory,
    metrics,
    open_session,
    outcomes,
    stuck,
)
from loadtests.replicas import Replica
from tests.support import server
from tests.support.store import StoreServer, running_store

WAITING, LEAVING, OPERATOR = "waiting", "leaving", "operator"
_MEMORY_SECONDS: Final = 5.0
_STORE_SECONDS: Final = 3.0


def configuration(store: str) -> str:
    """Two keys with limits of every kind, none of which is reached: the store is asked for each request."""
    limits = "requests_per_minute: 1000000, tokens_per_minute: 1000000000, concurrent_requests: 1000"
    budget = "budget: {tokens_per_month: 1000000000000}"
    keys = [f"  {name}: {{sha256: {hash_key(name)}}}" for name in (WAITING, LEAVING)]
    keys.append(f"  {OPERATOR}: {{sha256: {hash_key(OPERATOR)}, admin: true}}")
    return "\n".join(
        ["keys:", *keys, "open_paths: [/metrics]", f"limits: {{store: '{store}', per_key: {{{limits}, {budget}}}}}"]
    )


class Soak:
    """One run.

    Args:
        replicas: the servers, which have been started.
        session: for all requests.
        seed: decides what clients send.
    """

    def __init__(self, replicas: list[Replica], session: aiohttp.ClientSession, seed: int) -> None:
        self.replicas = replicas
        self.session = session
        self.random = random.Random(seed)
        self.start = time.monotonic()
        self.asked: list[Asked] = []
        self.lives = [Life(number, 0.0) for number in range(len(replicas))]
        self.current = list(range(len(replicas)))  # by replica, its life
        self.events: list[tuple[float, str]] = []
        self.over = False

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def note(self, what: str) -> None:
        """An event."""
        self.events.append((self.now(), what))
        print(f"{self.now():6.0f} s  {len(self.asked):7} requests  {what}", flush=True)

    async def client(self, number: int) -> None:
        """Ask until the run is over."""
        turn = number
        while not self.over:
            replica = turn % len(self.replicas)
            kind = self.random.choices(list(Kind), (4, 4, 1, 1))[0]
            key = WAITING if kind in (Kind.WHOLE, Kind.STREAM) else LEAVING
            one = Asked(key, self.current[replica], UNANSWERED, self.now(), 0.0)
            with suppress(aiohttp.ClientError, TimeoutError, ConnectionError):  # the outcome says how far it came
                await self._ask(self.replicas[replica].address, kind, one)
            one.ended = self.now()
            self.asked.append(one)
            turn += 1
            if one.outcome in (REFUSED, UNANSWERED):
                await asyncio.sleep(0.1)

    async def _ask(self, address: str, kind: Kind, one: Asked) -> None:
        headers = {"x-api-key": one.key}
        async with self.session.post(address + CHAT, json=body_of(kind, self.random), headers=headers) as response:
            if response.status == 503 and "Retry-After" in response.headers:
                one.outcome = REFUSED
            elif response.status != 200:
                refused = kind == Kind.WRONG and response.status in WRONG_STATUSES
                one.outcome = WRONG if refused else f"status {response.status}"
            else:
                one.outcome = BROKEN
                await self._take(response, kind, one)

    async def _take(self, response: aiohttp.ClientResponse, kind: Kind, one: Asked) -> None:
        usage, last = None, b""
        if kind == Kind.WHOLE:
            usage = (await response.json())["usage"]
        else:
            async for line in response.content:
                last = line.strip() or last
                if kind == Kind.LEAVE and self.random.random() < 0.1:
                    response.close()
                    one.outcome = LEFT
                    return
                if line.startswith((b'data: {"error"', b"event: error")):
                    return
                if b'"usage":{' in line:
                    usage = json.loads(line.removeprefix(b"data: "))["usage"]
        if kind == Kind.WHOLE or last == b"data: [DONE]":
            one.outcome = FINISHED
        if usage and one.outcome == FINISHED:
            one.prompt_tokens, one.answer_tokens = usage["prompt_tokens"], usage["completion_tokens"]

    async def watch(self) -> None:
        """Note the memory of all replicas."""
        while not self.over:
            for number, life in enumerate(self.current):
                try:
                    size = memory(psutil.Process(self.replicas[number].process.pid))
                except psutil.Error:
                    continue  # it has just ended
                if self.lives[life].ended is None:
                    self.lives[life].memory.append((self.now(), size))
            await asyncio.sleep(_MEMORY_SECONDS)

    async def faults(self, store: StoreServer, seconds: float) -> None:
        """A killed replica, a restarted store, a rolling restart; then as long as ``seconds`` say."""
        await self._until(0.15 * seconds)
        self.note("replica 0 is killed")
        self._end(0, killed=True)
        await self.replicas[0].kill()
        await self._begin(0)
        await self._until(0.4 * seconds)
        self.note("the store is stopped")
        await asyncio.to_thread(store.stop, signal.SIGTERM)
        await asyncio.sleep(_STORE_SECONDS)
        await asyncio.to_thread(store.start)
        self.note("the store is back")
        await self._until(0.55 * seconds)
        for number, replica in enumerate(self.replicas):
            self.note(f"replica {number} is stopped")
            stopping = self.current[number]
            self.lives[stopping].exit_code = await replica.stop()
            self._end(number)
            await self._begin(number)
        await self._until(seconds)

    def _end(self, number: int, *, killed: bool = False) -> None:
        life = self.lives[self.current[number]]
        life.ended, life.killed = self.now(), killed

    async def _begin(self, number: int) -> None:
        # From now on its requests belong to the new life: until it listens, they have no answer.
        self.current[number] = len(self.lives)
        self.lives.append(Life(number, self.now()))
        await self.replicas[number].start()
        self.lives[self.current[number]].memory.clear()  # a start is no growth, however long it takes
        self.note(f"replica {number} is ready")

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.now()))

    async def told(self, store: StoreServer, logs: list[Path]) -> Told:
        """What the servers say, once nobody asks any more."""
        await asyncio.sleep(SETTLE_SECONDS)
        counted, waiting = {}, 0
        for replica, life in zip(self.replicas, self.current, strict=True):
            samples = await metrics(self.session, replica.address)
            counted[life] = sum(outcomes(samples).values())
            waiting += stuck(samples)
            # Asking one of them has it write what it knows, and only its own.
            async with self.session.get(f"{replica.address}/admin/usage", headers={"x-api-key": OPERATOR}) as response:
                totals = (await response.json())["totals"]
        held = sum(store.client().zcard(f"cc-serve:{{{key}}}:running") for key in (WAITING, LEAVING))
        lines = sum(len(log.read_text().splitlines()) for log in logs)
        usage = {row["key"]: {name: row[name] for name in row if name != "key"} for row in totals}
        return Told(lines, counted, usage, waiting, int(held), self.events)


async def soak(folder: Path, store: StoreServer, options: argparse.Namespace) -> dict[str, Any]:
    """Run it all, and judge."""
    checkpoint = server.save_served_checkpoint(folder)
    (folder / "server.yaml").write_text(configuration(store.url))
    logs = [folder / f"{number}.jsonl" for number in range(2)]
    flags = [*server.FLAGS, *FLAGS, "--cc-config", str(folder / "server.yaml")]
    replicas = [Replica(checkpoint, [*flags, "--request-log", str(log)]) for log in logs]
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        async with open_session() as session:
            run = Soak(replicas, session, options.seed)
            clients = [asyncio.create_task(run.client(number)) for number in range(options.clients)]
            watching = asyncio.create_task(run.watch())
            await run.faults(store, options.seconds)
            run.over = True
            await asyncio.gather(*clients, watching)
            return judge(run.asked, run.lives, await run.told(store, logs), WAITING)
    finally:
        await asyncio.gather(*(each.kill() for each in replicas if each.process.returncode is None))


def main() -> int:
    """Run, print and write the summary; the exit code is 1 when something did not hold."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.fleet_soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1200, help="at least; starts take their time, too")
    parser.add_argument("--clients", type=int, default=8, help="that send at the same time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs/soak"))
    options = parser.parse_args()
    # vLLM would bind the engines of both replicas to the same core, where one cannot start while the other is busy.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_store(folder, "--appendonly", "yes", "--appendfsync", "always") as store:
            report = asyncio.run(soak(folder, store, options))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "summary.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.output / "summary.md").write_text(text := as_markdown(report))
    print(text)
    return 0 if all(report["holds"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
