"""Calls between the API processes of a server: a line of JSON over a Unix socket, answered by another line.

Each is read to its end, however long it is: nobody else may write to the sockets. A line without its end was cut off.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

#: The process that makes all changes which concern every process, one after another.
FIRST: Final = 0
logger = logging.getLogger(__name__)

_PATIENCE: Final = 10.0
# An answer has what the call returned, or why it failed.
_VALUE: Final = "value"
_FAILED: Final = "failed"
_END: Final = b"\n"


class PeerError(RuntimeError):
    """Another process of this server does not answer, or could not do what it was asked for."""


class Peers:
    """The other processes. By default there are none.

    Args:
        directory: the directory of the sockets, which nobody else may read.
        index: the number of this process.
        count: how many processes there are.
    """

    def __init__(self, directory: Path = Path(), index: int = 0, count: int = 1) -> None:
        self._directory = directory
        self._index = index
        self._others = [other for other in range(count) if other != index]
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {}

    @property
    def is_first(self) -> bool:
        """Whether this process makes the changes that concern every process."""
        return self._index == FIRST

    def offer(self, name: str, call: Callable[..., Awaitable[Any]]) -> None:
        """Let other processes call ``call`` in this one under ``name``. Arguments and result go through JSON."""
        self._calls[name] = call

    async def others(self, name: str, *arguments: str) -> list[Any]:
        """Call what the other processes offer as ``name``. Returns the results of all of them.

        Raises:
            PeerError: one of them does not answer, for example while it starts or stops.
        """
        return await asyncio.gather(*(self._ask(other, _PATIENCE, name, *arguments) for other in self._others))

    async def first(self, name: str, *arguments: str) -> Any:
        """Call what the first process offers as ``name``, however long that takes. Returns its result.

        Raises:
            PeerError: the first process does not answer, or another one that it has to ask does not.
        """
        return await self._ask(FIRST, None, name, *arguments)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer the other processes, if there are any."""
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
            call = await reader.read()
            if not call.endswith(_END):  # the process that asked has gone
                return
            name, *arguments = json.loads(call)
            try:
                answer = {_VALUE: await self._calls[name](*arguments)}
            except PeerError as error:
                answer = {_FAILED: str(error)}
            except Exception:  # the process that asked could not explain it; the log can
                logger.exception("API process %d could not do what another one asked for: %s", self._index, name)
                answer = {_FAILED: f"API process {self._index} of this server failed; its log says why"}
            writer.write(_line(answer))
            with suppress(ConnectionError):  # the process that asked has gone
                await writer.drain()

    async def _ask(self, other: int, patience: float | None, *call: str) -> Any:
        answer = b""
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_unix_connection(path_of(self._directory, other))
                with closing(writer):
                    writer.write(_line(call))
                    writer.write_eof()
                    answer = await reader.read()
        if not answer.endswith(_END):
            raise PeerError(f"API process {other} of this server does not answer; try again")
        content = json.loads(answer)
        if _FAILED in content:
            raise PeerError(content[_FAILED])
        return content[_VALUE]


def path_of(directory: Path, index: int) -> Path:
    """The socket of a process."""
    return directory / f"{index}.sock"


def tell(directory: Path, index: int, name: str) -> None:
    """Have process ``index`` do what it offers as ``name``, if it still can. For the parent, which is no peer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1.0)
        try:
            line.connect(str(path_of(directory, index)))
            line.sendall(_line([name]))
            line.shutdown(socket.SHUT_WR)
            line.recv(1)
        except OSError:
            pass


def _line(content: object) -> bytes:
    return json.dumps(content).encode() + _END
