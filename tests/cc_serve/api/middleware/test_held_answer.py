"""Nothing of a held answer goes out before it is whole, and then with the length that it has become."""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import Message

from cc_serve.api.middleware.held_answer import HeldAnswer


def test_it_is_sent_once_and_whole() -> None:
    sent: list[Message] = []
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]}

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        held = HeldAnswer(start, lambda content: content.upper() + b"!")
        for part in (b"ab", b"", b"cd"):
            await held.add({"type": "http.response.body", "body": part, "more_body": True}, send)
        assert not sent
        await held.add({"type": "http.response.body", "body": b"ef"}, send)

    asyncio.run(answer())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert MutableHeaders(scope=sent[0])["content-length"] == "7"
    assert sent[1]["body"] == b"ABCDEF!"
