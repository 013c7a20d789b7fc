"""One request's body: read once, parsed once, written at most once, whoever asks for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

import cc_serve.api.request_body
from cc_serve.api.drain import Drain
from cc_serve.api.errors import RefusedError
from cc_serve.api.middleware.authentication import KeyMiddleware
from cc_serve.api.middleware.connection import ConnectionMiddleware
from cc_serve.api.middleware.limits import LimitsMiddleware
from cc_serve.api.request_body import RequestBody
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router

GERMAN = "Wo ist der nächste Bahnhof, bitte?"


class Json:
    """Counts how often a body is parsed and written."""

    def __init__(self) -> None:
        self.parsed = self.written = 0

    def loads(self, content: bytes) -> Any:
        self.parsed += 1
        return json.loads(content)

    def dumps(self, fields: object) -> str:
        self.written += 1
        return json.dumps(fields)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Json:
    counter = Json()
    monkeypatch.setattr(cc_serve.api.request_body, "json", counter)
    return counter


def passed(body: bytes, path: str = "/v1/completions") -> tuple[bytes, Scope]:
    """What reaches the endpoint through the middleware that use the body."""
    reached: list[tuple[bytes, Scope]] = []
    chunks = iter([body[:7], body[7:]])

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(((await receive())["body"], scope))

    async def receive() -> Message:
        chunk = next(chunks)
        return {"type": "http.request", "body": chunk, "more_body": chunk == body[:7]}

    async def send(message: Message) -> None:
        pass

    length = (b"content-length", str(len(body)).encode())
    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"a", b"b"), length], "query_string": b""}
    app = KeyMiddleware(
        LimitsMiddleware(ConnectionMiddleware(endpoint), Drain()), LiveSettings(None, default_router(), {})
    )
    asyncio.run(app(scope, receive, send))
    return reached[0]


def test_a_connected_request_is_parsed_and_written_once(counted: Json) -> None:
    content, scope = passed(json.dumps({"prompt": GERMAN}).encode())
    assert json.loads(content) == {"prompt": GERMAN, "vllm_xargs": {"cc_connection": "global"}}
    assert scope["headers"] == [(b"a", b"b"), (b"content-length", str(len(content)).encode())]
    assert (counted.parsed, counted.written) == (1, 1)


def test_a_plain_request_is_not_written(counted: Json) -> None:
    body = b'{"prompt":  "Where is the station?"}'
    assert passed(body)[0] == body
    assert (counted.parsed, counted.written) == (1, 0)


def test_a_request_that_generates_nothing_is_not_parsed(counted: Json) -> None:
    assert passed(b'{"prompt": "a"}', "/v1/embeddings")[0] == b'{"prompt": "a"}'
    assert (counted.parsed, counted.written) == (0, 0)


def test_whoever_asks_gets_the_same_body() -> None:
    async def main() -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"{}"}

        scope: Scope = {}
        first, second = await RequestBody.of(scope, receive), await RequestBody.of(scope, receive)
        assert first is second is not None
        assert first.request is second.request

    asyncio.run(main())


LONE = '"\\ud83d"'


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (f'{{"stop": [1, {LONE}]}}', "stop.1"),
        (f'{{"vllm_xargs": {{"a": {LONE}}}}}', "vllm_xargs.a"),
        (f'{{"messages": [{{"role": "user", "content": [{{"text": {LONE}}}]}}]}}', "messages.0.content.0.text"),
        (f'{{"logit_bias": {{{LONE}: 1}}}}', "logit_bias"),
        (f"{{{LONE}: 1}}", "body"),
        ('{"prompt": "\\uDEAD"}', "prompt"),
        (b'{"prompt": "\xed\xa0\x80"}', "prompt"),
        ('{"a": ' * 900 + LONE + "}" * 900, ".".join(["a"] * 900)),
        ('{"prompt": "\\ud83d\\ude00"}', None),
        ('{"prompt": "\\\\ud83d"}', None),
        ('{"prompt": "한\\ud55c"}', None),
    ],
    ids=lambda value: str(value)[:40].encode("unicode_escape").decode(),
)
def test_half_a_character_is_refused_with_its_place(body: str | bytes, place: str | None) -> None:
    content = body if isinstance(body, bytes) else body.encode()
    read = RequestBody(content, None)  # type: ignore[arg-type]
    assert read.request is not None
    if place is None:
        read.refuse_unsendable()
    else:
        with pytest.raises(RefusedError, match="half of a surrogate pair") as caught:
            read.refuse_unsendable()
        assert caught.value.param == place


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (f'{{"top_k": {1 << 64}}}', "top_k"),
        (f'{{"vllm_xargs": {{"a": [{-(1 << 63) - 1}]}}}}', "vllm_xargs.a.0"),
        (f'{{"top_k": {10**400}}}', "top_k"),
        (f'{{"seed": {1 << 63}}}', "seed"),
        (f'{{"seed": {-(1 << 63) - 1}}}', "seed"),
        (f'{{"seed": {(1 << 63) - 1}}}', None),
        (f'{{"top_k": {(1 << 64) - 1}, "seed": {-(1 << 63)}}}', None),
        (f'{{"prompt": "{1 << 70}", "temperature": 1{"0" * 30}.5}}', None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_number_that_no_message_to_the_engine_holds_is_refused(body: str, place: str | None) -> None:
    read = RequestBody(body.encode(), None)  # type: ignore[arg-type]
    assert read.request is not None
    if place is None:
        read.refuse_unsendable()
    else:
        most = (1 << (63 if place == "seed" else 64)) - 1
        told = f"^'{place}' has more than 64 bits; send a number from {-(1 << 63)} to {most}$"
        with pytest.raises(RefusedError, match=told) as caught:
            read.refuse_unsendable()
        assert caught.value.param == place
