"""Changes the served connection without a restart: workers load the new one while steps go on, and then switch."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cc_core.files import CheckpointError
from cc_core.terminal.text import one_line
from cc_serve.api.background import Background
from cc_serve.api.connections import Connections, Served
from cc_serve.api.errors import RefusedError
from cc_serve.api.held import HeldByAll
from cc_serve.api.peers import PeerError, Peers
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings
from cc_serve.process.base import ServedBase
from cc_serve.routing.router import Router

logger = logging.getLogger(__name__)

FIELD: Final = "directory"
_CHANGE: Final = "change connection"
_POLL_SECONDS: Final = 0.05
_SHOWN: Final = 12


class ConflictError(RuntimeError):
    """The connection cannot be changed now; the message says what to wait for."""


class Exchange:
    """Changes the served connection, one change at a time.

    Workers know connections by their digests, and each request names the connection that it began with. So workers need
    not switch at the same moment, and neither need API processes, of which the first one makes the change.

    Args:
        engine: vLLM's client.
        connections: the connections that this process holds.
        settings: the settings whose router changes.
        base: the served model; None if there is no checkpoint, and so nothing to change.
        peers: the server's other processes; by default, there are none.
        changes: the lock that the first process holds while it changes something in all processes.
    """

    def __init__(
        self,
        engine: Any,
        connections: Connections,
        settings: LiveSettings,
        base: ServedBase | None,
        peers: Peers | None = None,
        changes: asyncio.Lock | None = None,
    ) -> None:
        self._engine = engine
        self.connections = connections
        self._settings = settings
        self._base = base
        self._peers = peers or Peers()
        self._held = HeldByAll(connections, settings, self._peers)
        self._changes = changes or asyncio.Lock()
        self._changing = False
        self._lock = asyncio.Lock()
        self._background = Background()
        if self._peers.is_first:
            connections.on_idle = self._release_soon
            self._peers.offer(_CHANGE, self._change_for_peer)

    async def overview(self) -> tuple[Counter[str], bool]:
        """`HeldByAll.overview`."""
        return await self._held.overview()

    async def change(self, directory: Path) -> None:
        """Serve the connection in ``directory``. A change that has begun is finished, even if the caller leaves.

        Raises:
            RefusedError: the connection cannot be served with this model; nothing has changed.
            ConflictError: another change is under way, the engine sleeps, or requests still need an earlier connection.
            PeerError: another process does not answer. Nothing has changed, or some processes have; the same call again
                completes the change.
        """
        directory = directory.absolute()
        if not self._peers.is_first:
            refusal = await self._peers.first(_CHANGE, str(directory))
            if refusal is not None:
                raise ConflictError(refusal["conflict"]) if "conflict" in refusal else RefusedError(**refusal)
            return
        if self._changing:
            raise ConflictError("another connection is being loaded; try again when it is served")
        self._changing = True
        await asyncio.shield(self._background.start(self._change(directory)))

    async def _change_for_peer(self, directory: str) -> dict[str, str | None] | None:
        try:
            await self.change(Path(directory))
        except RefusedError as error:
            return {"message": str(error), "param": error.param}
        except ConflictError as error:
            return {"conflict": str(error)}
        return None

    async def _change(self, directory: Path) -> None:
        try:
            async with self._lock:
                other = await self._checked(directory)
                before = self.connections.served
                if other.sha256 != before.sha256:
                    await self._make_room(other.sha256)
                    await self._load(directory, other.sha256)
                    await self._move(other.sha256, before.sha256)
                async with self._changes:
                    await self._check_in_all(other, before.sha256)
                    await self._held.serve(other)
        except (RefusedError, PeerError) as error:
            logger.error("Connection not changed, or not in all processes: %s", error)
            raise
        finally:
            self._changing = False
        logger.info("Connection served: %s from %s; before: %s", other.sha256, directory, before.sha256)
        for earlier in self.connections.earlier:
            self._release_soon(earlier.sha256)

    async def _check_in_all(self, other: Served, before: str) -> None:
        """Have every process check ``other``, since the configuration may have been reloaded meanwhile."""
        try:
            await self._held.check(other)
        except (ConfigurationError, PeerError) as error:
            await self._move(before, other.sha256)
            await self._give_up(other.sha256)
            if isinstance(error, PeerError):
                raise
            raise RefusedError(str(error), FIELD) from error

    async def _checked(self, directory: Path) -> Served:
        if self._base is None:
            raise RefusedError("this server has no checkpoint", FIELD)
        try:
            description = await asyncio.to_thread(self._base.check, directory)
            router = Router.described(description)
            self._settings.check_router(router)
        except OSError as error:
            raise RefusedError(f"{directory}: cannot be read: {error.strerror}", FIELD) from error
        except (CheckpointError, ConfigurationError) as error:
            raise RefusedError(str(error), FIELD) from error
        return Served.at(directory, router)

    async def _make_room(self, sha256: str) -> None:
        """Drop what no request needs any more: at most one connection is held beside the served one."""
        if await self._engine.is_sleeping():
            raise ConflictError("the engine sleeps; wake it first")
        for earlier in self.connections.earlier:
            if not await self._held.is_needed(earlier.sha256):
                await self._drop(earlier.sha256)
            elif earlier.sha256 != sha256:
                name = earlier.sha256[:_SHOWN]
                _, served_by_all = await self._held.overview()
                if not served_by_all:
                    raise ConflictError(
                        f"some processes of this server still serve the connection before the present one, {name}; "
                        "ask for the present one again first"
                    )
                raise ConflictError(
                    f"requests still run that began with the connection before the present one, {name}; try again "
                    "when they have ended"
                )

    async def _load(self, directory: Path, sha256: str) -> None:
        await self._call("load_connection", str(directory), sha256)
        while None in (problems := await self._call("connection_problem", sha256)):
            await asyncio.sleep(_POLL_SECONDS)
        if found := next(filter(None, problems), ""):
            await self._call("drop_connection", sha256)
            raise RefusedError(found, FIELD)

    async def _move(self, sha256: str, before: str) -> None:
        """Put ``sha256`` on all devices; if one of them cannot, put ``before`` back."""
        try:
            await self._call("serve_connection", sha256)
        except Exception as error:  # a worker's, which vLLM's client wraps
            await self._call("serve_connection", before)
            await self._give_up(sha256)
            raise RefusedError(f"the engine could not serve it: {one_line(error)}", FIELD) from error

    def _release_soon(self, sha256: str) -> None:
        self._background.start(self._release(sha256))

    async def _release(self, sha256: str) -> None:
        async with self._lock:
            if sha256 in [earlier.sha256 for earlier in self.connections.earlier]:
                with suppress(PeerError):  # the connection is held longer: the next change tries again
                    if not await self._held.is_needed(sha256):
                        await self._drop(sha256)

    async def _give_up(self, sha256: str) -> None:
        """Drop a connection that is not served after all, unless it is an earlier one that requests still need."""
        if sha256 in [earlier.sha256 for earlier in self.connections.earlier]:
            self._release_soon(sha256)
        else:
            await self._call("drop_connection", sha256)

    async def _drop(self, sha256: str) -> None:
        await self._held.forget(sha256)
        await self._call("drop_connection", sha256)

    async def _call(self, method: str, *arguments: str) -> list[str | None]:
        """Call ``method`` on all workers of all engines, between two steps. Returns the results of the first engine."""
        return list(await self._engine.collective_rpc(method, args=arguments))
