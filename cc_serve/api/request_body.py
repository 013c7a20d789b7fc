"""A request's body: read once, parsed at most once, and written back at most once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final, Self

from starlette.types import Message, Receive, Scope

from cc_serve.api.errors import RefusedError
from cc_serve.api.generation_request import GenerationRequest
from cc_serve.api.headers import header

_BODY: Final = "cc_serve.body"
_LENGTH: Final = b"content-length"
# Values that perhaps cannot be sent to the engine: a surrogate, which is escaped in JSON or comes from invalid UTF-8,
# and an integer of more than 64 bits. Joined into one pattern, they would be slower.
_SUSPECTS: Final = (
    re.compile(rb"\\u[dD][89a-fA-F]"),
    re.compile(rb"\xed[\xa0-\xbf]"),
    re.compile(rb"[0-9][0-9]{18}"),
)
_INTEGERS: Final = range(-(1 << 63), 1 << 64)
# A seed has its sign in the 64 bits.
_SEEDS: Final = range(-(1 << 63), 1 << 63)


class BodyTooLargeError(ValueError):
    """The body is larger than allowed, by Content-Length or as received."""


class RequestBody:
    """The body of one request, which the middleware share through its scope.

    Args:
        received: the bytes that the client sent.
        receive: the channel that they came from, which later tells that the client has left.
    """

    def __init__(self, received: bytes, receive: Receive) -> None:
        self._received = received
        self._receive = receive
        self._handed_on = False
        self._parsed: GenerationRequest | None = None

    @classmethod
    async def of(cls, scope: Scope, receive: Receive, limit: int | None = None) -> Self | None:
        """The request's body, which is read at the first call.

        Returns:
            None if the client leaves before it has sent the whole body.

        Raises:
            BodyTooLargeError: more than ``limit`` bytes arrived.
        """
        body: Self | None = scope.get(_BODY)
        if body is None:
            received = await read_body(receive, limit)
            if received is None:
                return None
            body = scope[_BODY] = cls(received, receive)
        return body

    @cached_property
    def request(self) -> GenerationRequest | None:
        """The request in the body; None if that is no JSON object, which the endpoint refuses."""
        try:
            fields = json.loads(self._received)
        except (ValueError, RecursionError):
            return None
        self._parsed = GenerationRequest(fields) if isinstance(fields, dict) else None
        return self._parsed

    def refuse_unsendable(self) -> None:
        """Raise `RefusedError` for values that JSON can hold, but UTF-8 or the engine's messages cannot."""
        if self._parsed is None or not any(suspect.search(self._received) for suspect in _SUSPECTS):
            return
        for place, value in _values(self._parsed.fields):
            if isinstance(value, str) and not _encodes(value):
                raise RefusedError(f"{place!r} holds half of a surrogate pair, which is no character", place)
            allowed = _SEEDS if place == "seed" else _INTEGERS
            if isinstance(value, int) and value not in allowed:
                message = f"{place!r} has more than 64 bits; send a number from {allowed.start} to {allowed.stop - 1}"
                raise RefusedError(message, place)

    @cached_property
    def content(self) -> bytes:
        """The bytes for the endpoint: those received, or the request as the middleware has changed it.

        They are made once; later changes of the request have no effect.
        """
        request = self._parsed
        return self._received if request is None or not request.changed else json.dumps(request.fields).encode()

    def described_in(self, scope: Scope) -> Scope:
        """``scope`` with the length of the body that the endpoint gets."""
        if self.content is self._received or header(scope, b"transfer-encoding") is not None:
            return scope
        headers = [given for given in scope["headers"] if given[0] != _LENGTH]
        return {**scope, "headers": [*headers, (_LENGTH, b"%d" % len(self.content))]}

    async def receive(self) -> Message:
        """A receive channel that gives the whole body first, and then what the client's own channel gives."""
        if self._handed_on:
            return await self._receive()
        self._handed_on = True
        return {"type": "http.request", "body": self.content, "more_body": False}


def _values(body: object) -> Iterator[tuple[str, object]]:
    """All values in ``body``, each with its place, such as ``messages.0.content``; a name has its object's place."""
    pending: list[tuple[str, object]] = [("", body)]
    while pending:
        place, value = pending.pop()
        yield place or "body", value
        named: Iterable[tuple[object, object]] = ()
        if isinstance(value, dict):
            yield from ((place or "body", name) for name in value)
            named = value.items()
        elif isinstance(value, list):
            named = enumerate(value)
        pending += ((f"{place}.{name}" if place else str(name), inner) for name, inner in named)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def read_body(receive: Receive, limit: int | None = None) -> bytes | None:
    """The whole body; None if the client leaves before it has sent all of it.

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
