"""Changing the connection: refused whole or done whole, and the earlier one is held until its requests have ended.

The engine is a worker's `HeldConnections` without steps; tests/cc_serve/engine/test_connections.py has a real one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cc_serve.api.connections import Connections, Served
from cc_serve.api.errors import RefusedError
from cc_serve.api.exchange import ConflictError, Exchange
from cc_serve.config.settings import LiveSettings
from cc_serve.process.base import ServedBase
from cc_serve.routing.router import Router
from tests.support.held_engine import HeldEngine
from tests.support.tiny import random_connection, save_checkpoint, tiny_gemma3, tiny_llama


def checkpoint(folder: Path, seed: int, *names: str, model: Any = tiny_llama, offset: int = -1) -> Path:
    return save_checkpoint(folder, model(), random_connection(list(names), seed, anchor_offset=offset), ["de", "fr"])


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "served", 0, "global")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "other", 1, "global", "de")


def start(served: Path) -> tuple[Exchange, HeldEngine, LiveSettings]:
    router, engine = Router.of(served), HeldEngine(served)
    settings = LiveSettings(None, router, {})
    return Exchange(engine, Connections(Served.at(served, router)), settings, ServedBase(served)), engine, settings


def test_weights_that_cannot_be_compared_are_not_taken_for_the_same(served: Path, other: Path) -> None:
    for directory in (served, other):
        (directory / "model.safetensors").rename(directory / "weights.safetensors")
    exchange, _, _ = start(served)
    with pytest.raises(RefusedError, match=r"holds no model\*\.safetensors"):
        asyncio.run(exchange.change(other))


def test_requests_keep_theirs_and_new_ones_get_the_new_one(served: Path, other: Path, tmp_path: Path) -> None:
    exchange, engine, settings = start(served)
    connections, old, new = exchange.connections, Router.of(served).sha256, Router.of(other).sha256
    assert old
    assert new

    async def play() -> None:
        with connections.begun_with(old):
            await exchange.change(other)
            assert settings.current.anonymous.router.sha256 == new == connections.served.sha256 == engine.held.served
            assert settings.current.anonymous.router.connection_for("de") == "de"
            assert connections.has(old, "global")
            assert engine.held.holds(old, "global")
            with pytest.raises(
                ConflictError, match="requests still run that began with the connection before the present one"
            ):
                await exchange.change(checkpoint(tmp_path / "third", 2, "global"))
        async with asyncio.timeout(60):
            while connections.earlier or engine.held.holds(old, "global"):  # its last request has ended
                await asyncio.sleep(0.01)
        await exchange.change(served)
        assert settings.current.anonymous.router.connection_for("de") == "global"
        async with asyncio.timeout(60):
            while engine.held.holds(new, "global"):
                await asyncio.sleep(0.01)
        assert engine.held.served == old

    asyncio.run(play())


@pytest.mark.parametrize("back", [False, True])
def test_a_device_without_room_keeps_what_it_had(served: Path, other: Path, back: bool) -> None:
    """Also the requests of a connection that was to be gone back to."""
    exchange, engine, settings = start(served)
    connections, old, new = exchange.connections, Router.of(served).sha256, Router.of(other).sha256
    assert old
    assert new

    async def play() -> None:
        with connections.begun_with(old):
            if back:
                await exchange.change(other)
            before, wanted = (new, served) if back else (old, other)
            engine.refused = old if back else new
            with pytest.raises(RefusedError, match="the engine could not serve it: no room"):
                await exchange.change(wanted)
            assert settings.current.anonymous.router.sha256 == before == connections.served.sha256 == engine.held.served
            assert connections.has(old, "global")
            assert engine.held.holds(old, "global"), "its request runs"
            assert engine.held.holds(new, "global") == back

    asyncio.run(play())


def test_what_does_not_fit_is_refused_by_its_field_and_changes_nothing(served: Path, tmp_path: Path) -> None:
    cases = {
        "there is no such directory": tmp_path / "none",
        "its architecture is": checkpoint(tmp_path / "gemma", 1, "global", model=tiny_gemma3),
        "its weights' SHA-256 is": checkpoint(tmp_path / "weights", 1, "global", model=lambda: tiny_llama(5)),
        "field 'cc_connection.anchor_offset' is -2": checkpoint(tmp_path / "anchor", 1, "global", offset=-2),
    }
    exchange, engine, settings = start(served)
    before = settings.current
    for message, directory in cases.items():
        with pytest.raises(RefusedError, match=message):
            asyncio.run(exchange.change(directory))
    assert settings.current is before
    assert exchange.connections.served.sha256 == engine.held.served == Router.of(served).sha256


def test_one_change_at_a_time(served: Path, other: Path) -> None:
    exchange, _, _ = start(served)

    async def play() -> None:
        first = asyncio.create_task(exchange.change(other))
        await asyncio.sleep(0)
        with pytest.raises(ConflictError, match="another connection is being loaded"):
            await exchange.change(served)
        await first
        assert exchange.connections.served.sha256 == Router.of(other).sha256

    asyncio.run(play())


def test_a_change_is_finished_when_its_caller_has_gone(served: Path, other: Path) -> None:
    exchange, engine, _ = start(served)

    async def play() -> None:
        caller = asyncio.create_task(exchange.change(other))
        await asyncio.sleep(0)
        caller.cancel()
        async with asyncio.timeout(30):
            while exchange.connections.served.sha256 != Router.of(other).sha256:
                await asyncio.sleep(0.01)
        assert engine.held.served == Router.of(other).sha256

    asyncio.run(play())
