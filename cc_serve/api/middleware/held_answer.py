"""A JSON answer that is held back until it is complete, since its content and so its length will change."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send


class HeldAnswer:
    """A response that is held back from its start.

    Args:
        start: the message ``http.response.start``, which has not been sent.
        change: makes the content to send from the original content.
    """

    def __init__(self, start: Message, change: Callable[[bytes], bytes]) -> None:
        self._start = start
        self._change = change
        self._body = b""

    async def add(self, message: Message, send: Send) -> None:
        """Take a part of the content. With the last part, send the whole response."""
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        content = self._change(self._body)
        MutableHeaders(scope=self._start)["content-length"] = str(len(content))
        await send(self._start)
        await send({**message, "body": content})
