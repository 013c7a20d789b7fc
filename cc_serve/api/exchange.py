"""Another connection without a restart: checked, loaded by every worker beside its steps, and served between two."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final, TypeVar

from cc_core.files import CheckpointError
from cc_serve.api.connections import Connections, Served
from cc_serve.api.errors import RefusedError
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings
from cc_serve.process.base import ServedBase
from cc_serve.routing.router import Router

logger = logging.getLogger(__name__)

FIELD: Final = "directory"
_POLL_SECONDS: Final = 0.05
_SHOWN: Final = 12
_T = TypeVar("_T")


class ConflictError(RuntimeError):
    """It cannot be done now; the message says until when, or what to do instead."""


class Exchange:
    """Changes what is served, one change at a time.

    Workers know connections by their digests, and each request names the one that it began with. So nothing has to
    happen at the same moment in all workers, and the event loop is the only place where a change takes effect.

    Args:
        engine: vLLM's client.
        connections: what is held.
        settings: whose router changes.
        base: the served model; None where there is no checkpoint, and so nothing to change.
        refusal: why this server cannot change it at all.
    """

    def __init__(
        self,
        engine: Any,
        connections: Connections,
        settings: LiveSettings,
        base: ServedBase | None,
        refusal: str | None = None,
    ) -> None:
        self._engine = engine
        self._refusal = refusal
        self.connections = connections
        self._settings = settings
        self._base = base
        self._changing = False
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        connections.on_idle = self._release_soon

    async def change(self, directory: Path) -> Served:
        """Serve the connection in ``directory``. Once begun, it is finished, whoever waits for it.

        Raises:
            RefusedError: the connection cannot be served with this model; nothing has changed.
            ConflictError: another change is under way, or requests still need a connection before this one; or this
                server cannot change it at all.
        """
        if self._refusal is not None:
            raise ConflictError(self._refusal)
        if self._changing:
            raise ConflictError("another connection is being loaded; try again when that has ended")
        self._changing = True
        task = self._keep(asyncio.create_task(self._change(directory.absolute())))
        return await asyncio.shield(task)

    async def _change(self, directory: Path) -> Served:
        try:
            async with self._lock:
                other = await self._checked(directory)
                before = self.connections.served
                await self._make_room(other.sha256)
                if other.sha256 != before.sha256:
                    await self._load(directory, other.sha256)
                    await self._move(other.sha256, before.sha256)
                try:
                    self._settings.change_router(other.router)
                except ConfigurationError as error:  # the configuration was reloaded meanwhile
                    await self._move(before.sha256, other.sha256)
                    await self._drop_unless_running(other.sha256)
                    raise RefusedError(str(error), FIELD) from error
                self.connections.serve(other)
        except RefusedError as error:
            logger.error("Connection not changed: %s", error)
            raise
        finally:
            self._changing = False
        logger.info("Connection changed: %s from %s; before: %s", other.sha256, directory, before.sha256)
        self._release_soon(before.sha256)
        return other

    async def _checked(self, directory: Path) -> Served:
        if self._base is None:
            raise RefusedError("this server has no checkpoint", FIELD)
        try:
            description = await asyncio.to_thread(self._base.check, directory)
            router = Router.described(description)
            self._settings.check_router(router)
        except (CheckpointError, ConfigurationError) as error:
            raise RefusedError(str(error), FIELD) from error
        return Served.at(directory, router)

    async def _make_room(self, sha256: str) -> None:
        """Let go of what nobody needs any more. At most one connection is held beside the served one."""
        if await self._engine.is_sleeping():
            raise ConflictError("the engine sleeps; wake it first")
        for earlier in self.connections.earlier:
            if not (running := self.connections.running(earlier.sha256)):
                await self._drop(earlier.sha256)
            elif earlier.sha256 != sha256:
                raise ConflictError(
                    f"{running} requests still run that began with the connection before the present one, "
                    f"{earlier.sha256[:_SHOWN]}; a third one has to wait until they have ended"
                )

    async def _load(self, directory: Path, sha256: str) -> None:
        await self._call("load_connection", str(directory), sha256)
        while None in (problems := await self._call("connection_problem", sha256)):
            await asyncio.sleep(_POLL_SECONDS)
        if found := next(filter(None, problems), ""):
            await self._call("drop_connection", sha256)
            raise RefusedError(found, FIELD)

    async def _move(self, sha256: str, before: str) -> None:
        """Have ``sha256`` on all devices, or ``before`` as it was."""
        try:
            await self._call("serve_connection", sha256)
        except Exception as error:  # a worker's, which vLLM's client wraps
            await self._call("serve_connection", before)
            await self._drop_unless_running(sha256)
            raise RefusedError(f"the engine could not take it: {error}", FIELD) from error

    def _release_soon(self, sha256: str) -> None:
        self._keep(asyncio.get_running_loop().create_task(self._release(sha256)))

    async def _release(self, sha256: str) -> None:
        async with self._lock:
            if sha256 in [earlier.sha256 for earlier in self.connections.earlier]:
                await self._drop_unless_running(sha256)

    async def _drop_unless_running(self, sha256: str) -> None:
        """Let go of a connection that is not served after all; going back may have met requests of its own."""
        if not self.connections.running(sha256):
            await self._drop(sha256)

    async def _drop(self, sha256: str) -> None:
        self.connections.forget(sha256)
        await self._call("drop_connection", sha256)

    async def _call(self, method: str, *arguments: str) -> list[str | None]:
        """Have all workers of all engines do something between two steps."""
        return list(await self._engine.collective_rpc(method, args=arguments))

    def _keep(self, task: asyncio.Task[_T]) -> asyncio.Task[_T]:
        """Refer to the task until it is done: the loop itself does not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
