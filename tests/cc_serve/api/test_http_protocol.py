"""Headers and slow clients, over sockets, against uvicorn with this protocol around a small application."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from prometheus_client import REGISTRY
from starlette.types import Receive, Scope, Send

from cc_serve.api import http_protocol
from cc_serve.api.http_protocol import BoundedHttpProtocol, abort
from cc_serve.api.request_body import read_body
from cc_serve.api.stall import PatientSend, StalledClientError
from tests.support.ports import free_port

MOST_BYTES = 2000


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body; or with more than a client takes, until it is given up."""
    if scope["type"] != "http":
        return
    body = await read_body(receive) or b""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    patient = PatientSend(send, 0.2 if scope["query_string"] == b"impatient" else 60)
    try:
        if scope["path"] == "/endless":
            for _ in range(1000):
                await patient({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        if scope["path"] == "/whole":
            await patient({"type": "http.response.body", "body": b"x" * 20_000_000})
            return
        await patient({"type": "http.response.body", "body": b"%d" % len(body)})
    except StalledClientError:
        abort(scope)
    finally:
        patient.close()


@contextmanager
def serving() -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(
        application, port=free_port(), http=BoundedHttpProtocol, log_level="error", lifespan="off", loop="asyncio"
    )
    config.h11_max_incomplete_event_size = MOST_BYTES
    config.h11_max_header_count = 10  # type: ignore[attr-defined]  # as vLLM sets it
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    with serving() as running:
        yield running


def connect(server: uvicorn.Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.config.port), timeout=60)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "what a client did not take is still kept for it"
        time.sleep(0.02)


def talk(server: uvicorn.Server, *pieces: bytes) -> bytes:
    """What comes back for ``pieces`` until the server closes the connection."""
    with connect(server) as client:
        for piece in pieces:
            client.sendall(piece)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    return received


def test_ordinary_requests_share_a_connection(server: uvicorn.Server) -> None:
    body = b"x" * 100_000
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n%s"
    pieces = [request % (len(body), b"", body)] * 30 + [request % (3, b"Connection: close\r\n", b"abc")]
    received = talk(server, *pieces)
    assert received.count(b"HTTP/1.1 200 OK") == 31
    assert received.count(b"100000") == 30


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"x" * MOST_BYTES,
        b"".join(b"X-%d: x\r\n" % number for number in range(12)),
        b"X" * MOST_BYTES,
    ],
)
def test_too_many_or_too_large_headers_are_refused(server: uvicorn.Server, headers: bytes) -> None:
    def hits() -> float:
        return REGISTRY.get_sample_value("cc:limits_hit_total", {"limit": "headers"}) or 0

    before = hits()
    received = talk(server, b"GET / HTTP/1.1\r\nHost: a\r\n" + headers)
    assert hits() == before + 1
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b"Connection: close" in received or b"connection: close" in received


def test_a_long_url_counts_too(server: uvicorn.Server) -> None:
    assert talk(server, b"GET /" + b"x" * MOST_BYTES).startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_still_a_bad_request(server: uvicorn.Server) -> None:
    assert talk(server, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_headers_that_do_not_come_end_the_connection(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 1.0)
    with serving() as server:
        assert talk(server, begun) == b""


@pytest.mark.parametrize("path", [b"/endless", b"/whole"])
def test_a_client_that_takes_nothing_loses_its_connection(server: uvicorn.Server, path: bytes) -> None:
    until(lambda: not server.server_state.connections)  # of other tests
    with connect(server) as client:
        until(lambda: server.server_state.connections)
        client.sendall(b"GET %s?impatient HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        until(lambda: not server.server_state.connections)


def test_a_client_that_takes_a_large_answer_gets_all_of_it(server: uvicorn.Server) -> None:
    received = talk(server, b"GET /whole HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert received.count(b"x") >= 20_000_000
