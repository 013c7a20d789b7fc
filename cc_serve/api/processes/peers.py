"""How the API processes of a server have one another do something: a line over a Unix socket, answered with JSON."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

_PATIENCE: Final = 10.0


class PeerError(RuntimeError):
    """Another process of this server does not answer."""


class Peers:
    """The other processes. By default there are none.

    Args:
        directory: of the sockets; nobody else may read it.
        index: of this process.
        count: of all processes.
    """

    def __init__(self, directory: Path = Path(), index: int = 0, count: int = 1) -> None:
        self._directory = directory
        self._index = index
        self._others = [other for other in range(count) if other != index]
        self._calls: dict[str, Callable[[], Awaitable[Any]]] = {}

    def offer(self, name: str, call: Callable[[], Awaitable[Any]]) -> None:
        """Let others have this process ``call``; what it returns goes through JSON."""
        self._calls[name] = call

    async def others(self, name: str) -> list[Any]:
        """Have all others do what they offer as ``name``; what each returns.

        Raises:
            PeerError: one of them does not answer, as while it starts or stops.
        """
        return await asyncio.gather(*(self._ask(other, name) for other in self._others))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer the others, where there are any."""
        if not self._others:
            yield
            return
        server = await asyncio.start_unix_server(self._answer, path_of(self._directory, self._index))
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            name = (await reader.readline()).decode().strip()
            writer.write(json.dumps(await self._calls[name]()).encode() + b"\n")
            await writer.drain()

    async def _ask(self, other: int, name: str) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(path_of(self._directory, other))
                with closing(writer):
                    writer.write(f"{name}\n".encode())
                    answer = await reader.readline()
            if answer:
                return json.loads(answer)
        except OSError:  # TimeoutError is one
            pass
        raise PeerError(f"API process {other} of this server does not answer; try again")


def path_of(directory: Path, index: int) -> Path:
    """The socket of a process."""
    return directory / f"{index}.sock"


def tell(directory: Path, index: int, name: str) -> None:
    """Have process ``index`` do what it offers as ``name``, from outside of the processes, where it still can."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1.0)
        try:
            line.connect(str(path_of(directory, index)))
            line.sendall(f"{name}\n".encode())
            line.recv(1)
        except OSError:
            pass
