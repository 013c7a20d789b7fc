"""The configuration file read again, by all processes of the server."""

from __future__ import annotations

import asyncio
import logging

from cc_serve.api.processes.peers import PeerError, Peers
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings

logger = logging.getLogger(__name__)

_CALL = "reload"


class Reload:
    """Reads the file again, on a signal or an operator's call.

    Args:
        settings: of this process.
        peers: the others, which follow when this one has found the file to be right.
    """

    def __init__(self, settings: LiveSettings, peers: Peers) -> None:
        self._settings = settings
        self._peers = peers
        self._tasks: set[asyncio.Task[str | None]] = set()
        peers.offer(_CALL, self._follow)

    async def everywhere(self) -> str | None:
        """What is wrong with the file, or None when it is in force in every process. Logs either."""
        problem = self._read()
        if problem is None:
            try:
                problem = next(filter(None, await self._peers.others(_CALL)), None)
            except PeerError as error:
                problem = str(error)
                logger.error("Configuration reloaded in a part of the server: %s", problem)
        if problem is None:
            logger.info("Configuration reloaded: %s", self._settings.path or "no file")
        return problem

    def soon(self) -> None:
        """`everywhere`, from a signal's handler."""
        task = asyncio.get_running_loop().create_task(self.everywhere())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> str | None:
        return self._read()

    def _read(self) -> str | None:
        try:
            self._settings.reload()
        except ConfigurationError as error:
            logger.error("Configuration not reloaded, the old one stays: %s", error)
            return str(error)
        return None
