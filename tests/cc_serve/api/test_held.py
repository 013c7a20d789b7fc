"""One connection after another in a server of three processes; here on one event loop, over real sockets.

The engine is a worker's `HeldConnections` without steps. tests/cc_serve/api/processes/test_two_processes.py has a real
server of two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from cc_serve.api.connections import Connections, Served
from cc_serve.api.errors import RefusedError
from cc_serve.api.exchange import ConflictError, Exchange
from cc_serve.api.peers import PeerError, Peers
from cc_serve.api.reload import Reload
from cc_serve.config.settings import LiveSettings
from cc_serve.process.base import ServedBase
from cc_serve.routing.router import Router
from tests.support.held_engine import HeldEngine
from tests.support.tiny import random_connection, save_checkpoint, tiny_gemma3, tiny_llama

COUNT = 3


class Process:
    def __init__(self, folder: Path, index: int, checkpoint: Path, engine: HeldEngine) -> None:
        router = Router.of(checkpoint)
        self.peers = Peers(folder, index, COUNT)
        self.settings = LiveSettings(folder / "server.yaml", router, {})
        connections, changes = Connections(Served.at(checkpoint, router)), asyncio.Lock()
        base = ServedBase(checkpoint)
        self.exchange = Exchange(engine, connections, self.settings, base, self.peers, changes)
        self.reload = Reload(self.settings, self.peers, changes)

    @property
    def serves(self) -> tuple[str, str | None]:
        """The digests of what its list of connections and its router tell."""
        return self.exchange.connections.served.sha256, self.settings.current.anonymous.router.sha256


Use = Callable[[list[Process], HeldEngine], Awaitable[None]]


@pytest.fixture
def checkpoints(tmp_path: Path) -> tuple[Path, Path]:
    return saved(tmp_path / "served", 0, "global"), saved(tmp_path / "other", 1, "global", "de")


def saved(folder: Path, seed: int, *names: str) -> Path:
    return save_checkpoint(folder, tiny_llama(), random_connection(list(names), seed), ["de", "fr"])


def digest(checkpoint: Path) -> str:
    return Router.of(checkpoint).sha256 or ""


def together(folder: Path, checkpoint: Path, use: Use) -> None:
    """Have ``use`` play with processes that serve ``checkpoint``."""

    async def run() -> None:
        (folder / "server.yaml").write_text("{}")
        engine = HeldEngine(checkpoint)
        processes = [Process(folder, index, checkpoint, engine) for index in range(COUNT)]
        async with AsyncExitStack() as stack:
            for process in processes:
                await stack.enter_async_context(process.peers.listening())
            await use(processes, engine)

    asyncio.run(run())


async def settled(processes: list[Process]) -> None:
    """Until all have told the first what they need no more, and it has acted on that."""
    for process in processes:
        await process.exchange._held._background.finished()
    await processes[0].exchange._background.finished()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("asked", range(COUNT))
def test_all_processes_change_whichever_is_asked(tmp_path: Path, checkpoints: tuple[Path, Path], asked: int) -> None:
    served, other = checkpoints
    old, new = map(digest, checkpoints)

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        await processes[asked].exchange.change(other)
        assert {process.serves for process in processes} == {(new, new)}
        assert await processes[2].exchange.overview() == ({}, True)
        await until(lambda: not engine.held.holds(old, "global"))
        assert engine.held.served == new
        await until(lambda: not any(process.exchange.connections.earlier for process in processes))
        await processes[asked].exchange.change(served)
        assert {process.serves for process in processes} == {(old, old)}

    together(tmp_path, served, use)


@pytest.mark.parametrize("ends_last", range(COUNT))
def test_what_any_process_needs_is_held(tmp_path: Path, checkpoints: tuple[Path, Path], ends_last: int) -> None:
    served, other = checkpoints
    old, new = map(digest, checkpoints)
    third = saved(tmp_path / "third", 2, "global")

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        stacks = [ExitStack() for _ in processes]
        for process, stack in zip(processes, stacks, strict=True):
            stack.enter_context(process.exchange.connections.begun_with(old))
            stack.enter_context(process.exchange.connections.answered_with(old))
        await processes[1].exchange.change(other)
        assert await processes[2].exchange.overview() == ({old: COUNT}, True)
        with pytest.raises(ConflictError, match="requests still run that began with the connection before"):
            await processes[2].exchange.change(third)
        stacks.append(stacks.pop(ends_last))
        for stack in stacks:
            assert engine.held.holds(old, "global"), "a request runs that began with it"
            stack.close()
            await settled(processes)
        await until(lambda: not engine.held.holds(old, "global"))  # its last request has ended
        await until(lambda: not any(process.exchange.connections.earlier for process in processes))
        await processes[2].exchange.change(third)
        assert {process.serves[0] for process in processes} == {engine.held.served} != {new}

    together(tmp_path, served, use)


def test_a_refusal_reaches_whoever_asked_and_changes_nothing(tmp_path: Path, checkpoints: tuple[Path, Path]) -> None:
    served, _ = checkpoints
    wrong = save_checkpoint(tmp_path / "gemma", tiny_gemma3(), random_connection(["global"], 1), ["de"])

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        long = "x" * 300
        for directory, message in (
            (wrong, "its architecture is"),
            (tmp_path / "none", "there is no such directory"),
            (tmp_path / long, f"{long}: cannot be read: File name too long"),
        ):
            with pytest.raises(RefusedError, match=message) as caught:
                await processes[1].exchange.change(directory)
            assert caught.value.param == "directory"
        assert {process.serves for process in processes} == {(digest(served), digest(served))}
        assert engine.held.served == digest(served)

    together(tmp_path, served, use)


def test_one_that_cannot_follow_keeps_all_where_they_are(tmp_path: Path, checkpoints: tuple[Path, Path]) -> None:
    """Its configuration needs a matrix that the other connection lacks: the others' have not been reloaded."""
    served, other = checkpoints
    old, new = map(digest, checkpoints)

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        await processes[0].exchange.change(other)
        (tmp_path / "server.yaml").write_text("routing: {default: de}")
        processes[2].settings.reload()
        await until(lambda: not any(process.exchange.connections.earlier for process in processes))
        with pytest.raises(RefusedError, match=r"routing\.default"):
            await processes[1].exchange.change(served)
        assert {process.serves for process in processes} == {(new, new)}
        await until(lambda: not engine.held.holds(old, "global"))
        assert engine.held.served == new

    together(tmp_path, served, use)


def test_one_that_is_silent_before_the_change_keeps_all_where_they_are(
    tmp_path: Path, checkpoints: tuple[Path, Path]
) -> None:
    served, other = checkpoints

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        (tmp_path / "2.sock").rename(tmp_path / "away")
        with pytest.raises(PeerError, match="API process 2 of this server does not answer; try again"):
            await processes[1].exchange.change(other)
        assert engine.held.served == digest(served)
        assert not engine.held.holds(digest(other), "global"), "nobody serves it"
        (tmp_path / "away").rename(tmp_path / "2.sock")
        assert {process.serves for process in processes} == {(digest(served), digest(served))}
        await processes[1].exchange.change(other)
        assert {process.serves[0] for process in processes} == {digest(other)}

    together(tmp_path, served, use)


def test_one_that_is_silent_during_the_change_keeps_what_it_needs(
    tmp_path: Path, checkpoints: tuple[Path, Path]
) -> None:
    """It goes on with the connection before, until somebody asks for the change again."""
    served, other = checkpoints
    old, new = map(digest, checkpoints)

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        async def silent(_: str) -> None:
            raise PeerError("API process 2 of this server does not answer; try again")

        follow = processes[2].peers._calls["serve connection"]
        processes[2].peers.offer("serve connection", silent)
        with pytest.raises(PeerError, match="API process 2"):
            await processes[0].exchange.change(other)
        assert [process.serves[0] for process in processes] == [new, new, old]
        await settled(processes)
        assert engine.held.holds(old, "global"), "process 2 begins requests with it"
        assert await processes[2].exchange.overview() == ({}, False)
        with pytest.raises(ConflictError, match=r"some processes .* ask for the present one again"):
            await processes[1].exchange.change(saved(tmp_path / "third", 2, "global"))
        processes[2].peers.offer("serve connection", follow)
        await processes[1].exchange.change(other)
        assert {process.serves for process in processes} == {(new, new)}
        await until(lambda: not engine.held.holds(old, "global"))

    together(tmp_path, served, use)


def test_a_reload_and_a_change_take_turns(tmp_path: Path, checkpoints: tuple[Path, Path]) -> None:
    """Neither puts back what the other has changed."""
    served, other = checkpoints

    async def use(processes: list[Process], engine: HeldEngine) -> None:
        for round_, directory in enumerate((other, served, other), 2):
            (tmp_path / "server.yaml").write_text(f"limits: {{choices: {round_}}}")
            changes = [processes[1].exchange.change(directory), processes[2].reload.everywhere()]
            assert await asyncio.gather(*changes) == [None, None]
            assert {process.serves for process in processes} == {(digest(directory), digest(directory))}
            assert {process.settings.current.anonymous.limits.choices for process in processes} == {round_}

    together(tmp_path, served, use)
