"""Reading a request's body ahead of the application, and handing it on."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope


class BodyTooLargeError(ValueError):
    """The body is larger than allowed, by its own account or in fact."""


async def read_body(receive: Receive, limit: int | None = None) -> bytes | None:
    """The whole body, or None when the client has gone before sending it all.

    Raises:
        BodyTooLargeError: more than ``limit`` bytes arrived.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if limit is not None and size > limit:
            raise BodyTooLargeError
        if not message.get("more_body", False):
            return b"".join(chunks)


def with_length(scope: Scope, body: bytes) -> Scope:
    """``scope`` with the headers that describe ``body``."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    if "transfer-encoding" not in headers:
        headers["content-length"] = str(len(body))
    return {**scope, "headers": headers.raw}


def replay(body: bytes, receive: Receive) -> Receive:
    """A receive channel that gives ``body`` at once and then what ``receive`` gives, such as the client's leaving."""
    pending: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replayed() -> Message:
        nonlocal pending
        if pending is None:
            return await receive()
        message, pending = pending, None
        return message

    return replayed
