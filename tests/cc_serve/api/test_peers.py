"""Processes of a server that have one another do something; here on one event loop, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from threading import Thread

import pytest

from cc_serve.api.peers import PeerError, Peers, path_of, tell
from cc_serve.api.reload import Reload
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router


def together(folder: Path, count: int, use: Callable[[list[Peers]], Awaitable[None]]) -> None:
    async def run() -> None:
        peers = [Peers(folder, index, count) for index in range(count)]
        async with AsyncExitStack() as stack:
            for each in peers:
                await stack.enter_async_context(each.listening())
            await use(peers)

    asyncio.run(run())


def test_all_others_do_it_and_their_answers_come_back(tmp_path: Path) -> None:
    async def use(peers: list[Peers]) -> None:
        for index, each in enumerate(peers):
            each.offer("square", lambda index=index: asyncio.sleep(0, index**2))
        assert await peers[1].others("square") == [0, 4]

    together(tmp_path, 3, use)


def test_long_calls_and_answers_come_whole(tmp_path: Path) -> None:
    path = "d" * (3 << 20)

    async def use(peers: list[Peers]) -> None:
        async def doubled(text: str) -> str:
            return text * 2

        async def refuse(text: str) -> None:
            raise PeerError(text)

        for each in peers:
            each.offer("doubled", doubled)
            each.offer("refuse", refuse)
        assert await peers[1].first("doubled", path) == path * 2
        assert await peers[0].others("doubled", path) == [path * 2]
        with pytest.raises(PeerError, match=f"^{path}$"):
            await peers[1].first("refuse", path)

    together(tmp_path, 2, use)


def test_an_answer_that_was_cut_off_is_none(tmp_path: Path) -> None:
    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"val')
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_unix_server(cut_off, path_of(tmp_path, 1)):
            await Peers(tmp_path, 0, 2).others("anything")

    with pytest.raises(PeerError, match="API process 1 of this server does not answer"):
        asyncio.run(ask())


def test_a_call_that_was_cut_off_is_not_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(_peers: list[Peers]) -> None:
        reader, writer = await asyncio.open_unix_connection(path_of(tmp_path, 0))
        writer.write(b'["squ')
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    together(tmp_path, 2, use)
    assert not caplog.records


def test_alone_nobody_is_asked() -> None:
    assert asyncio.run(Peers().others("anything")) == []


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="API process 1 of this server does not answer"):
        asyncio.run(Peers(tmp_path, 0, 2).others("anything"))


def test_one_that_fails_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(peers: list[Peers]) -> None:
        with pytest.raises(PeerError, match="API process 1"):
            await peers[0].others("what it does not offer")

    together(tmp_path, 2, use)


def test_the_parent_tells_from_outside(tmp_path: Path) -> None:
    async def use(peers: list[Peers]) -> None:
        told = asyncio.Event()

        async def note() -> None:
            told.set()

        peers[0].offer("note", note)
        Thread(target=tell, args=(tmp_path, 0, "note")).start()
        await asyncio.wait_for(told.wait(), 60)

    together(tmp_path, 2, use)
    tell(tmp_path, 0, "note")  # nobody is there any more, which is no error


def test_a_reload_is_everybodys(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.yaml" for index in range(2)]

    def write(first: str, second: str) -> None:
        for path, text in zip(paths, (first, second), strict=True):
            path.write_text(text)

    async def use(peers: list[Peers]) -> None:
        write("limits: {choices: 1}", "limits: {choices: 1}")
        settings = [LiveSettings(path, default_router(), {}) for path in paths]
        reloads = [Reload(each, peer) for each, peer in zip(settings, peers, strict=True)]

        def choices() -> list[int]:
            return [each.current.anonymous.limits.choices for each in settings]

        write("limits: {choices: 2}", "limits: {choices: 2}")
        assert await reloads[1].everywhere() is None
        assert choices() == [2, 2]
        write("limits: {choices: 0}", "limits: {choices: 3}")
        assert "limits.choices" in (await reloads[0].everywhere() or "")
        assert choices() == [2, 2], "the others do not follow where the first finds a mistake"
        write("limits: {choices: 4}", "limits: {choices: 0}")
        assert "1.yaml: limits.choices" in (await reloads[0].everywhere() or ""), "nobody's mistake is lost"
        assert choices() == [2, 2], "a mistake that one finds changes nothing anywhere"
        write("limits: {choices: 5}", "limits: {choices: 6}")
        assert "changed while it was read; try again" in (await reloads[0].everywhere() or "")
        assert choices() == [2, 2]

    together(tmp_path, 2, use)
