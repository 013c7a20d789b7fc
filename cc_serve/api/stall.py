"""A limit on the time that a client takes to receive each piece of its answer."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.types import Message, Send

#: The bytes of the largest piece that is handed to the HTTP server at once.
PIECE_BYTES: Final = 1 << 16


class StalledClientError(Exception):
    """The client does not receive its answer."""


class PatientSend:
    """A send channel that gives up on a message after ``seconds``. Make it while the event loop runs.

    One timer serves all messages of a response. Nearly all messages go out at once, and a timeout for each would cost a
    stream more than all other middleware together.

    Large messages go out in pieces. The HTTP server accepts a message of any size into memory, and only waits for the
    client before the next one.

    Raises:
        StalledClientError: a message did not go out.
    """

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._sender: asyncio.Task[Any] | None = None  # while a message is on its way
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._given_up = False

    async def __call__(self, message: Message) -> None:
        body = message.get("body", b"")
        if len(body) <= PIECE_BYTES:
            await self._send_in_time(message)
            return
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = end < len(body) or message.get("more_body", False)
            await self._send_in_time({**message, "body": body[start:end], "more_body": more})

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than ``seconds`` for a message. Call it from the event loop's thread."""
        self._seconds = min(self._seconds, seconds)
        if self._timer is not None:
            self._timer.cancel()
            self._look()

    async def _send_in_time(self, message: Message) -> None:
        sender = self._sender = asyncio.current_task(self._loop)
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)
        try:
            await self._send(message)
        except asyncio.CancelledError as error:
            if self._given_up and sender is not None and sender.uncancel() == 0:
                raise StalledClientError from error
            raise
        finally:
            self._sender = None

    def close(self) -> None:
        """Stop the timer: nothing more will be sent."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._sender is None:
            return
        left = self._since + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._given_up = True
            self._sender.cancel()
