"""A response's beginning is held until its first piece."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from cc_serve.api.middleware.begin import BeginningMiddleware

SCOPE = {"type": "http", "method": "POST"}
START = {"type": "http.response.start", "status": 200, "headers": []}


def piece(body: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def nothing() -> Message:
    return {"type": "http.disconnect"}


def test_status_and_headers_go_out_with_the_first_piece() -> None:
    sent: list[Message] = []
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (START, piece(b"a"), piece(b"", more=False)):
            await send(message)
            seen.append(len(sent))

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(BeginningMiddleware(app)(SCOPE, nothing, send))
    assert sent == [START, piece(b"a"), piece(b"", more=False)]
    assert seen == [0, 2, 3]


def test_what_fails_before_its_first_piece_has_no_response_yet() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        raise RuntimeError

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        asyncio.run(BeginningMiddleware(app)(SCOPE, nothing, send))
    assert sent == []
