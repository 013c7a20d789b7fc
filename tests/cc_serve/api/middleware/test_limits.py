"""Limits over a small real application: what is refused, how, and that nothing stays counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from cc_serve.api.drain import Drain
from cc_serve.api.middleware.authentication import KeyMiddleware
from cc_serve.api.middleware.limits import LimitsMiddleware
from cc_serve.api.tenants.memory import MemoryLimiter
from cc_serve.api.work import current_work
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support import clock
from tests.support.echo import client_of

KEYS = f"keys: {{alice: {{sha256: {hash_key('alice')}}}, bob: {{sha256: {hash_key('bob')}}}}}\n"
ALICE, BOB = {"x-api-key": "alice"}, {"x-api-key": "bob"}


class Endpoint:
    """Answers when it is let go, and says how many are waiting; ``charge`` in the body counts tokens."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.waiting = 0
        self.bodies: list[bytes] = []

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        wanted = json.loads(body) if body.startswith(b"{") else {}
        if (work := current_work.get()) is not None:
            work.charge(wanted.get("charge", 0))
        if wanted.get("stream"):
            return StreamingResponse(self._pieces(wanted.get("fail", False)), media_type="text/event-stream")
        if wanted.get("wait"):
            self.waiting += 1
            try:
                await self.go.wait()
            finally:
                self.waiting -= 1
        return JSONResponse({"ok": True}, wanted.get("status", 200))

    async def _pieces(self, fail: bool) -> AsyncIterator[bytes]:
        yield b"data: 0\n\n"
        if fail:
            raise ValueError
        await self.go.wait()


Talk = Callable[[httpx.AsyncClient, Endpoint], Awaitable[None]]


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[str, Talk], None]:
    """Runs a conversation with the application under a configuration, and checks that nobody is left counted."""

    def run(text: str, talk: Talk) -> None:
        path = tmp_path / "server.yaml"
        path.write_text(text)
        settings = LiveSettings(path, default_router(), {})

        async def main() -> None:
            endpoint = Endpoint()
            routes = [Route("/{path:path}", endpoint.answer, methods=["GET", "POST"])]
            limiter = MemoryLimiter()
            limited = LimitsMiddleware(Starlette(routes=routes), Drain(), limiter)
            async with client_of(KeyMiddleware(limited, settings)) as client:
                await talk(client, endpoint)
            assert limited.running == 0
            assert limiter.running == 0

        clock.run(main())

    return run


def error_of(stream: httpx.Response) -> dict[str, Any]:
    """The error at a stream's end, as OpenAI's clients read it."""
    first, last, done = stream.text.removesuffix("\n\n").split("\n\n")
    assert (first, done) == ("data: 0", "data: [DONE]")
    error: dict[str, Any] = json.loads(last.removeprefix("data: "))["error"]
    return error


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def hits(limit: str) -> float:
    return REGISTRY.get_sample_value("cc:limits_hit_total", {"limit": limit}) or 0


def test_a_request_rate(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        before = hits("requests_per_minute")
        first, second, third = [await client.post("/", headers=ALICE) for _ in range(3)]
        assert [r.status_code for r in (first, second, third)] == [200, 200, 429]
        assert first.headers["X-RateLimit-Limit-Requests"] == "2"
        assert [r.headers["X-RateLimit-Remaining-Requests"] for r in (first, second, third)] == ["1", "0", "0"]
        assert third.headers["X-RateLimit-Reset-Requests"] == "60.000s"
        assert third.headers["Retry-After"] == "30"
        assert third.json()["error"]["type"] == "RateLimitError"
        assert "2 requests a minute" in third.json()["error"]["message"]
        assert hits("requests_per_minute") == before + 1
        assert (await client.post("/", headers=BOB)).status_code == 200, "everybody has their own"
        assert (await client.get("/", headers=ALICE)).status_code == 200, "reading is not counted"

    serve(KEYS + "limits: {per_key: {requests_per_minute: 2}}", talk)


def test_without_keys_a_rate_is_everybodys(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        await client.post("/")
        refused = await client.post("/")
        assert refused.json()["error"]["message"].startswith("all callers together may use 1 requests a minute; try")

    serve("limits: {per_key: {requests_per_minute: 1}}", talk)


def test_a_token_rate_is_of_what_was_really_used(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        first = await client.post("/", headers=ALICE, json={"charge": 40})
        second = await client.post("/", headers=ALICE, json={"charge": 100})
        third = await client.post("/", headers=ALICE, json={})
        assert [r.status_code for r in (first, second, third)] == [200, 200, 429]
        assert [r.headers["X-RateLimit-Remaining-Tokens"] for r in (first, second, third)] == ["60", "0", "0"]
        assert third.headers["X-RateLimit-Limit-Tokens"] == "100"
        assert third.headers["Retry-After"] == "25", "the excess drains first: 40 + 100 + 1 - 100 tokens"
        assert "X-RateLimit-Limit-Requests" not in third.headers

    serve(KEYS + "limits: {per_key: {tokens_per_minute: 100}}", talk)


def test_requests_at_the_same_time(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        waiting = [asyncio.create_task(client.post("/", headers=ALICE, json={"wait": True})) for _ in range(2)]
        await until(lambda: endpoint.waiting == 2)
        mine = await client.post("/", headers=ALICE)
        assert (mine.status_code, mine.headers["Retry-After"]) == (429, "1")
        waiting.append(asyncio.create_task(client.post("/", headers=BOB, json={"wait": True})))
        await until(lambda: endpoint.waiting == 3)
        full = await client.post("/", headers=BOB)
        assert (full.status_code, full.json()["error"]["type"]) == (503, "ServiceUnavailableError")
        assert int(full.headers["Retry-After"]) > 0
        endpoint.go.set()
        assert [response.status_code for response in await asyncio.gather(*waiting)] == [200] * 3
        assert (await client.post("/", headers=ALICE)).status_code == 200

    serve(KEYS + "limits: {concurrent_requests: 3, per_key: {concurrent_requests: 2}}", talk)


def test_a_burst_of_one_key_leaves_places_for_another(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        def begin(headers: dict[str, str]) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.post("/", headers=headers, json={"wait": True}))

        full, kept = hits("concurrent_requests"), hits("concurrent_requests_share")
        running = [begin(ALICE) for _ in range(14)]
        await until(lambda: endpoint.waiting == 14)
        refused = await client.post("/", headers=ALICE)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "14 of them are this key's; the last 2 of its 16 places" in refused.json()["error"]["message"]
        running += [begin(BOB) for _ in range(2)]
        await until(lambda: endpoint.waiting == 16)
        refused = await client.post("/", headers=BOB)
        assert refused.json()["error"]["message"] == "the server is busy with 16 requests"
        assert (hits("concurrent_requests"), hits("concurrent_requests_share")) == (full + 1, kept + 1)
        running.pop(0).cancel()
        await until(lambda: endpoint.waiting == 15)
        assert (await client.post("/", headers=ALICE)).status_code == 503, "what she leaves is not hers again"
        assert (await client.post("/", headers=BOB)).status_code == 200
        endpoint.go.set()
        assert [response.status_code for response in await asyncio.gather(*running)] == [200] * 15

    serve(KEYS + "limits: {concurrent_requests: 16}", talk)


@pytest.mark.parametrize("keys", ["", KEYS.replace(", bob", "} #")])
def test_one_caller_alone_has_the_whole_pool(serve: Callable[[str, Talk], None], keys: str) -> None:
    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        running = [asyncio.create_task(client.post("/", headers=ALICE, json={"wait": True})) for _ in range(16)]
        await until(lambda: endpoint.waiting == 16)
        refused = await client.post("/", headers=ALICE)
        assert refused.json()["error"]["message"] == "the server is busy with 16 requests"
        endpoint.go.set()
        assert [response.status_code for response in await asyncio.gather(*running)] == [200] * 16

    serve(keys + "limits: {concurrent_requests: 16}", talk)


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_before_it_is_looked_at(serve: Callable[[str, Talk], None], declared: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10

    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        assert (await client.post("/", content=b"x" * 100)).status_code == 200
        refused = await client.post("/", content=b"x" * 101 if declared else pieces())
        assert (refused.status_code, refused.json()["error"]["type"]) == (413, "RequestTooLargeError")
        assert "100 bytes" in refused.json()["error"]["message"]
        assert endpoint.bodies == [b"x" * 100]

    serve("limits: {body_bytes: 100}", talk)


@pytest.mark.parametrize("declared", [str((8 << 20) + 1), "9" * 5000, "0" * 5000 + "9" * 30])
def test_a_body_that_declares_to_be_large_is_not_even_begun(declared: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("read")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-length", declared.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
    limits = LimitsMiddleware(Starlette(), Drain())
    clock.run(KeyMiddleware(limits, LiveSettings(None, default_router(), {}))(scope, receive, send))
    assert sent[0]["status"] == 413
    assert limits.running == 0


def test_a_false_content_length_does_not_help(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        for length in ("1", "-1", "x", "１", "0" * 5000 + "1"):
            headers = [(b"content-length", length.encode())]
            response = await client.post("/", content=b"x" * 101, headers=headers)
            assert response.status_code == 413

    serve("limits: {body_bytes: 100}", talk)


def test_a_body_that_does_not_come(serve: Callable[[str, Talk], None]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(60)

    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        response = await client.post("/", content=pieces())
        assert (response.status_code, response.json()["error"]["type"]) == (408, "RequestTimeoutError")

    serve("limits: {client_seconds: 0.05}", talk)


def test_a_503_of_any_origin_says_when_to_come_back(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        response = await client.post("/", json={"status": 503})
        assert int(response.headers["Retry-After"]) > 0

    serve("", talk)


def test_what_ignores_its_deadline_is_cut_off(
    serve: Callable[[str, Talk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_serve.api.middleware.limits.GRACE_SECONDS", 0.5)

    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        before, time = hits("deadline"), asyncio.get_running_loop().time
        response = await client.post("/", json={"wait": True})
        assert time() == pytest.approx(1), "the deadline, and the grace after it"
        assert (response.status_code, response.json()["error"]["type"]) == (504, "Gateway Timeout")
        assert hits("deadline") == before + 1
        assert "deadline of 0.5 s" in response.json()["error"]["message"]
        assert endpoint.waiting == 0
        stream = await client.post("/", json={"stream": True})
        assert stream.status_code == 200
        assert error_of(stream)["code"] == 504
        assert time() == pytest.approx(2)

    serve("limits: {deadline_seconds: 0.5}", talk)


@pytest.mark.parametrize("guarded", [True, False])
def test_operators_calls_wait_for_no_place_and_have_no_deadline(
    serve: Callable[[str, Talk], None], monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    monkeypatch.setattr("cc_serve.api.middleware.limits.GRACE_SECONDS", 0.05)
    ops, user = ({"x-api-key": "ops"}, ALICE) if guarded else ({}, {})
    paths = ("/sleep", "/resume", *(("/admin/reload",) if guarded else ()))

    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        calls = [asyncio.create_task(client.post(path, headers=ops, json={"wait": True})) for path in paths]
        await until(lambda: endpoint.waiting == len(paths))
        running = asyncio.create_task(client.post("/", headers=user, json={"wait": True}))
        await until(lambda: endpoint.waiting == len(paths) + 1)  # they take no place of others
        assert (await client.post("/", headers=user)).status_code == 503
        assert [(await client.post(path, headers=ops)).status_code for path in paths] == [200] * len(paths)
        assert (await client.post(paths[0], headers=ops, content=b"x" * 101)).status_code == 413
        if guarded:
            assert (await client.post("/sleep", headers=user)).status_code == 403
            assert (await client.post("/admin/reload", headers=user)).status_code == 503
            assert (await client.post("/", headers=ops)).status_code == 503
        assert (await running).status_code == 504
        endpoint.go.set()
        assert [response.status_code for response in await asyncio.gather(*calls)] == [200] * len(paths)

    keys = KEYS.replace("keys: {", f"keys: {{ops: {{sha256: {hash_key('ops')}, admin: true}}, ") if guarded else ""
    limits = "concurrent_requests: 1, body_bytes: 100, deadline_seconds: 3, per_key: {requests_per_minute: 5}"
    serve(keys + f"limits: {{{limits}}}", talk)


def test_a_client_that_does_not_take_its_answer_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("limits: {client_seconds: 0.05}")

    async def main() -> None:
        endpoint = Endpoint()
        limited = LimitsMiddleware(Starlette(routes=[Route("/", endpoint.answer, methods=["POST"])]), Drain())
        gone = asyncio.Event()
        incoming = iter([{"type": "http.request", "body": b'{"stream": true}'}])

        async def receive() -> Message:
            for message in incoming:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(60)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        settings = LiveSettings(path, default_router(), {})
        async with asyncio.timeout(30):
            await KeyMiddleware(limited, settings)(scope, receive, send)
        assert limited.running == 0

    clock.run(main())


def test_a_client_that_leaves_frees_its_place(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, endpoint: Endpoint) -> None:
        task = asyncio.create_task(client.post("/", json={"wait": True}))
        await until(lambda: endpoint.waiting == 1)
        assert (await client.post("/")).status_code == 503
        task.cancel()
        await until(lambda: endpoint.waiting == 0)
        assert (await client.post("/")).status_code == 200

    serve("limits: {concurrent_requests: 1}", talk)


def test_a_stream_that_fails_ends_with_an_error(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
        stream = await client.post("/", json={"stream": True, "fail": True})
        error = error_of(stream)
        assert (stream.status_code, error["code"], error["type"]) == (200, 500, "InternalServerError")

    serve("", talk)


def test_a_failure_frees_the_place(serve: Callable[[str, Talk], None]) -> None:
    async def talk(client: httpx.AsyncClient, _: Endpoint) -> None:
        with pytest.raises(json.JSONDecodeError):
            await client.post("/", content=b"{")

    serve("", talk)


def test_the_place_is_free_before_the_last_byte_is_sent() -> None:
    """With it the client may ask again, before this request is cleared away."""

    async def main() -> None:
        running: list[int] = []
        limited = LimitsMiddleware(Starlette(routes=[Route("/", Endpoint().answer, methods=["POST"])]), Drain())

        async def send(message: Message) -> None:
            running.append(limited.running)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"{}"}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await KeyMiddleware(limited, LiveSettings(None, default_router(), {}))(scope, receive, send)
        assert running == [1, 0]

    clock.run(main())
