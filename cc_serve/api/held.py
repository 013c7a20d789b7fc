"""The connection that a server's API processes begin requests with, and those that any of them still needs."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cc_core.files import CheckpointError
from cc_core.standalone import describe_either
from cc_serve.api.background import Background
from cc_serve.api.connections import Connections, Served
from cc_serve.api.peers import PeerError, Peers
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import Router

_HELD: Final = "held connections"
_CHECK: Final = "check connection"
_SERVE: Final = "serve connection"
_FORGET: Final = "forget connection"
_IDLE: Final = "idle connection"


class HeldByAll:
    """The connections of this process and of the others. Only the first process changes which one is served.

    Processes need not switch at the same moment: workers hold both connections, and a request names the one that it
    began with. An earlier connection can go when no process serves it and none of its requests runs.

    Args:
        mine: this process's connections.
        settings: the settings whose router changes.
        peers: the server's other processes.
    """

    def __init__(self, mine: Connections, settings: LiveSettings, peers: Peers) -> None:
        self.mine = mine
        self._settings = settings
        self._peers = peers
        self._checked: dict[str, Served] = {}
        self._background = Background()
        peers.offer(_HELD, self._held)
        peers.offer(_CHECK, self._check_for_first)
        peers.offer(_SERVE, self._serve_for_first)
        peers.offer(_FORGET, self._forget_for_first)
        peers.offer(_IDLE, self._idle_for_first)
        if not peers.is_first:
            mine.on_idle = self._tell_first

    async def overview(self) -> tuple[Counter[str], bool]:
        """What all processes serve; raises `PeerError`.

        Returns:
            How many answers run, by the digest of their connection; and whether all processes begin requests with the
            same one.
        """
        others = await self._peers.others(_HELD)
        running = sum((Counter(other["running"]) for other in others), self.mine.running)
        return running, all(other["served"] == self.mine.served.sha256 for other in others)

    async def is_needed(self, sha256: str) -> bool:
        """Whether a request of this connection runs, or may begin in another process; raises `PeerError`."""
        others = await self._peers.others(_HELD)
        theirs = any(sha256 in other["needed"] or sha256 == other["served"] for other in others)
        return theirs or self.mine.is_needed(sha256)

    async def check(self, other: Served) -> None:
        """Make sure that every process can serve ``other``.

        Raises:
            ConfigurationError: one of them cannot; the message says why.
            PeerError: one of them does not answer.
        """
        problems = await self._peers.others(_CHECK, str(other.directory), other.sha256)
        self._settings.check_router(other.router)
        if problem := next(filter(None, problems), None):
            raise ConfigurationError(problem)

    async def serve(self, other: Served) -> None:
        """Begin new requests with ``other``, which was checked: first here, then in the other processes.

        Raises:
            PeerError: another process does not answer, and may still serve the earlier connection.
        """
        self._serve(other)
        await self._peers.others(_SERVE, other.sha256)

    async def forget(self, sha256: str) -> None:
        """Have no process hold a connection any more. If it raises `PeerError`, this process still holds it."""
        await self._peers.others(_FORGET, sha256)
        self.mine.forget(sha256)

    def _serve(self, other: Served) -> None:
        self._settings.change_router(other.router)
        self.mine.serve(other)

    async def _held(self) -> dict[str, Any]:
        needed = [one.sha256 for one in self.mine.earlier if self.mine.is_needed(one.sha256)]
        return {"served": self.mine.served.sha256, "needed": needed, "running": self.mine.running}

    async def _check_for_first(self, directory: str, sha256: str) -> str | None:
        try:
            router = Router.described(await asyncio.to_thread(describe_either, Path(directory)))
            if router.sha256 != sha256:
                return f"{directory}: was changed while it was being read; try again"
            self._settings.check_router(router)
        except OSError as error:
            return f"{directory}: cannot be read: {error.strerror}"
        except (CheckpointError, ConfigurationError) as error:
            return str(error)
        self._checked[sha256] = Served.at(Path(directory), router)
        return None

    async def _serve_for_first(self, sha256: str) -> None:
        checked = self._checked[sha256]
        self._checked.clear()
        self._serve(checked)

    async def _forget_for_first(self, sha256: str) -> None:
        self.mine.forget(sha256)

    async def _idle_for_first(self, sha256: str) -> None:
        self.mine.on_idle(sha256)

    def _tell_first(self, sha256: str) -> None:
        self._background.start(self._tell(sha256))

    async def _tell(self, sha256: str) -> None:
        with suppress(PeerError):  # the next change asks again
            await self._peers.first(_IDLE, sha256)
