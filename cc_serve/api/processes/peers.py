"""Calls between the API processes of a server: a line of JSON over a Unix socket, and a line back."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

#: The process that makes the changes that concern all, one after another.
FIRST: Final = 0
logger = logging.getLogger(__name__)

_PATIENCE: Final = 10.0
# Of an answer: what the call returned, or why another process kept it from returning.
_VALUE: Final = "value"
_FAILED: Final = "failed"
# Refusals and directories are part of a line, and may be long.
_LINE_BYTES: Final = 1 << 20


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
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {}

    @property
    def is_first(self) -> bool:
        """Whether this process makes the changes that concern all."""
        return self._index == FIRST

    def offer(self, name: str, call: Callable[..., Awaitable[Any]]) -> None:
        """Let other processes call ``call`` here under ``name``; arguments and result go through JSON."""
        self._calls[name] = call

    async def others(self, name: str, *arguments: str) -> list[Any]:
        """Call ``name``, as `offer` has it, in all other processes; returns what each of them returns.

        Raises:
            PeerError: one of them does not answer, as while it starts or stops.
        """
        return await asyncio.gather(*(self._ask(other, _PATIENCE, name, *arguments) for other in self._others))

    async def first(self, name: str, *arguments: str) -> Any:
        """Call ``name`` in the first process, however long that takes; returns what it returns.

        Raises:
            PeerError: it does not answer, or one that it has to ask does not.
        """
        return await self._ask(FIRST, None, name, *arguments)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer the others, where there are any."""
        if not self._others:
            yield
            return
        server = await asyncio.start_unix_server(self._answer, path_of(self._directory, self._index), limit=_LINE_BYTES)
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            name, *arguments = json.loads(await reader.readline())
            try:
                answer = {_VALUE: await self._calls[name](*arguments)}
            except PeerError as error:
                answer = {_FAILED: str(error)}
            except Exception:  # the one that asked cannot tell what it means; the log can
                logger.exception("API process %d could not do what another one asked for: %s", self._index, name)
                answer = {_FAILED: f"API process {self._index} of this server failed; its log says why"}
            writer.write(_line(answer))
            with suppress(ConnectionError):  # the one that asked has gone
                await writer.drain()

    async def _ask(self, other: int, patience: float | None, *call: str) -> Any:
        answer = b""
        with suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_unix_connection(path_of(self._directory, other), limit=_LINE_BYTES)
                with closing(writer):
                    writer.write(_line(call))
                    answer = await reader.readline()
        if not answer:
            raise PeerError(f"API process {other} of this server does not answer; try again")
        content = json.loads(answer)
        if _FAILED in content:
            raise PeerError(content[_FAILED])
        return content[_VALUE]


def path_of(directory: Path, index: int) -> Path:
    """The socket of a process."""
    return directory / f"{index}.sock"


def tell(directory: Path, index: int, name: str) -> None:
    """Have process ``index`` do what it offers as ``name``, from outside of the processes, where it still can."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1.0)
        try:
            line.connect(str(path_of(directory, index)))
            line.sendall(_line([name]))
            line.recv(1)
        except OSError:
            pass


def _line(content: object) -> bytes:
    return json.dumps(content).encode() + b"\n"
