"""Reads the configuration file again, in all processes of the server."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress

from cc_serve.api.background import Background
from cc_serve.api.peers import PeerError, Peers
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings, Settings

logger = logging.getLogger(__name__)

_RELOAD = "reload"
_CHECK = "check configuration"
_USE = "use configuration"


class Reload:
    """Reads the file again, on a signal or an operator's call.

    All processes read and check the file before any of them puts it in force, so that a bad file, or one that is being
    written, changes nothing. Whichever process is asked, the first one leads.

    Args:
        settings: this process's settings.
        peers: the server's other processes.
        changes: the lock that the first process holds while it changes something in all processes.
    """

    def __init__(self, settings: LiveSettings, peers: Peers, changes: asyncio.Lock | None = None) -> None:
        self._settings = settings
        self._peers = peers
        self._changes = changes or asyncio.Lock()
        self._checked: Settings | None = None
        self._background = Background()
        peers.offer(_RELOAD, self.everywhere)
        peers.offer(_CHECK, self._check)
        peers.offer(_USE, self._use)

    async def everywhere(self) -> str | None:
        """Put the file in force in every process, and log that or why not.

        Returns:
            What is wrong with the file; None if it is in force.

        Raises:
            PeerError: another process does not answer.
        """
        if not self._peers.is_first:
            problem: str | None = await self._peers.first(_RELOAD)
            return problem
        async with self._changes:
            return await self._in_all()

    async def _in_all(self) -> str | None:
        try:
            others = await self._peers.others(_CHECK)
        except PeerError as error:
            logger.error("Configuration not reloaded, the old one stays: %s", error)
            raise
        mine = await self._check()
        problem = next(filter(None, (each["problem"] for each in (mine, *others))), None)
        if problem is None and any(each["sha256"] != mine["sha256"] for each in others):
            problem = f"{self._settings.path}: changed while it was read; try again"
        if problem is not None:
            logger.error("Configuration not reloaded, the old one stays: %s", problem)
            return str(problem)
        await self._use()
        try:
            await self._peers.others(_USE)
        except PeerError as error:
            logger.error("Configuration reloaded in some of the server's processes only; reload again: %s", error)
            raise
        logger.info("Configuration reloaded: %s", self._settings.path or "no file")
        return None

    def soon(self) -> None:
        """Begin `everywhere` from a signal handler."""
        self._background.start(self._logged())

    async def _logged(self) -> str | None:
        with suppress(PeerError):
            return await self.everywhere()
        return None

    async def _check(self) -> dict[str, str | None]:
        try:
            self._checked = self._settings.check()
        except ConfigurationError as error:
            return {"problem": str(error), "sha256": None}
        content = self._checked.configuration.model_dump_json().encode()
        return {"problem": None, "sha256": hashlib.sha256(content).hexdigest()}

    async def _use(self) -> None:
        if self._checked is not None:
            self._settings.use(self._checked)
