"""Who is let in: over vLLM's own application, with every route that it has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from cc_serve.api.arguments import parse_arguments, take_keys
from cc_serve.api.endpoints.playground import page_files
from cc_serve.api.middleware.authentication import KeyMiddleware
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support.application import make_app, write_keys

PROBES = {"/live", "/ready", "/health"}
# Each names a path that needs a key in a way that a careless comparison takes for one that does not.
TRICKS = (
    *("/health/", "//health", "/health//", "/./health", "/health/../tokenize", "/health%2f..%2ftokenize", "/HEALTH"),
    *("/live;/v1/models", "/live%00", "/live%20", "/%2e/live", "/v1/../live", "/health?x", "/metrics/", "//metrics"),
    *("//v1/models", "/v1//models", "/V1/models", "/v1/models/", "/v1/models%20", "/live/v1/models", ""),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_keys(tmp_path_factory.mktemp("keys") / "server.yaml")


def make_guarded(config: Path) -> FastAPI:
    flags = ("--api-key", "first", "second", "--allowed-origins", '["http://page"]')
    return make_app(LiveSettings(config, default_router(), {"env": hash_key("env")}), config.parent, *flags)


@pytest.fixture(scope="module")
def app(config: Path) -> FastAPI:
    """One for all tests, which are to be refused and so change nothing."""
    return make_guarded(config)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app)


@pytest.fixture(scope="module")
def rooted(config: Path) -> Callable[[str], FastAPI]:
    """The application below a root path."""

    @cache
    def make(root: str) -> FastAPI:
        flags = ["--root-path", root] if root else []
        return make_app(LiveSettings(config, default_router(), {}), config.parent, *flags)

    return make


def operations(routes: list[BaseRoute]) -> set[tuple[str, str]]:
    """Every method and path of ``routes``; a mounted application counts as its own path."""
    return {
        (method, route.path)  # type: ignore[attr-defined]
        for route in routes
        for method in (getattr(route, "methods", None) or ["GET"])
    }


def test_every_route_but_the_probes_needs_a_key(app: FastAPI, client: TestClient) -> None:
    found = operations(app.routes)
    expected = {
        "/tokenize",
        "/invocations",
        "/v1/models",
        "/docs",
        "/openapi.json",
        "/version",
        "/admin/reload",
        "/ping",
    }
    assert {path for _, path in found} > expected | PROBES
    assert len(found) > 40
    open_to_all = {(method, path) for method, path in found if client.request(method, path, json={}).status_code != 401}
    assert {path for _, path in open_to_all} == PROBES | {"/metrics"} | page_files().keys()


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT", "TRACE", "XYZ"])
def test_no_method_gets_around_it(client: TestClient, method: str) -> None:
    assert client.request(method, "/v1/models").status_code == 401
    assert client.request(method, "/no/such/path").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "XYZ"])
@pytest.mark.parametrize("path", ["/live", "/ready", "/health", "/playground"])
def test_without_a_key_the_open_pages_can_only_be_read(client: TestClient, path: str, method: str) -> None:
    assert client.get(path).status_code == 200
    assert client.request(method, path).status_code == 401, "it would take a place until its body has come"
    assert client.request(method, path, headers={"Authorization": "Bearer first"}).status_code == 405


@pytest.mark.parametrize("path", TRICKS)
@pytest.mark.parametrize("root", ["", "/api"])
def test_no_spelling_of_a_path_gets_around_it(rooted: Callable[[str], FastAPI], path: str, root: str) -> None:
    for prefix in {"", root}:
        status, reached = call(rooted(root), prefix + path)
        assert status == 401 or (prefix + path).partition("?")[0] in {p + q for p in ("", root) for q in PROBES}, (
            reached
        )


def call(app: FastAPI, target: str) -> tuple[int, list[Message]]:
    """Send a path to the application exactly as it is, decoded as servers decode it."""
    path, _, query = target.partition("?")
    scope: Scope = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode()}
    scope |= {"query_string": query.encode(), "headers": [(b"host", b"x")], "http_version": "1.1", "scheme": "http"}
    scope |= {"server": ("x", 80), "client": ("x", 1), "root_path": "", "asgi": {"version": "3.0"}}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent


@pytest.mark.parametrize("host", ["x/live?", "x/live#", "live", "x:80/health", ""])
def test_no_host_header_gets_around_it(client: TestClient, host: str) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == 401
    assert client.get("/version", headers={"X-Forwarded-Prefix": "/live", "X-Original-URL": "/live"}).status_code == 401


@pytest.mark.parametrize("root", ["/live", "/v1", "/"])
def test_a_root_path_opens_nothing(rooted: Callable[[str], FastAPI], root: str) -> None:
    for path in ("/v1/models", "/version", "/tokenize", root + "/version", root + "/v1/models"):
        assert call(rooted(root), path)[0] == 401


@pytest.mark.parametrize("key", ["ops", "user", "env", "first", "second"])
def test_every_key_is_let_in(client: TestClient, key: str) -> None:
    for headers in ({"Authorization": f"Bearer {key}"}, {"authorization": f"bearer  {key} "}, {"x-api-key": key}):
        assert client.get("/version", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "ops"},
        {"Authorization": "Basic ops"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer ops2"},
        {"Authorization": f"Bearer {hash_key('ops')}"},
        {"Authorization": "Bearer no", "x-api-key": "ops"},
        {"x-api-key": ""},
        {"x-api-key": "op"},
        {"api-key": "ops"},
    ],
)
def test_nothing_else_is(client: TestClient, headers: dict[str, str]) -> None:
    response = client.get("/version", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["error"]["type"] == "AuthenticationError"


def test_bytes_beyond_ascii_are_no_key(app: FastAPI) -> None:
    headers: Any = {b"Authorization": b"Bearer \xff\xfe"}
    assert TestClient(app).get("/version", headers=headers).status_code == 401


def test_browsers_may_ask_first_and_read_the_refusal(client: TestClient) -> None:
    asking = {"Origin": "http://page", "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/chat/completions", headers=asking).status_code == 200
    refused = client.post("/v1/chat/completions", headers={"Origin": "http://page"}, json={})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "http://page"


def test_a_websocket_needs_a_key_too() -> None:
    settings = LiveSettings(None, default_router(), {"a": hash_key("a")})
    reached: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def connect(*headers: tuple[bytes, bytes]) -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/realtime", "headers": list(headers)}
        await KeyMiddleware(app, settings)(scope, mock.AsyncMock(), send)
        return sent

    assert asyncio.run(connect())[0]["type"] == "websocket.close"
    assert reached == []
    assert asyncio.run(connect((b"authorization", b"Bearer a"))) == []
    assert reached == ["websocket"]


CLIENTS = {
    *("/v1/chat/completions", "/v1/chat/completions/batch", "/v1/chat/completions/render", "/v1/completions"),
    *("/v1/completions/render", "/v1/responses", "/v1/responses/render", "/v1/responses/{response_id}/cancel"),
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/messages/render", "/cohere/v2/chat", "/invocations"),
    *("/generative_scoring", "/v1/systemone", "/tokenize", "/detokenize", "/ping", "/v1/route"),
    *("/v1/chat/completions/derender", "/v1/completions/derender", "/is_scaling_elastic_ep"),
}


@pytest.mark.parametrize("root", ["", "/api"])
def test_without_a_key_an_open_path_takes_what_its_route_takes(tmp_path: Path, root: str) -> None:
    path = write_keys(tmp_path / "server.yaml")
    path.write_text(path.read_text().replace("/metrics", "/metrics, /v1/models, /v1/route, /no/such/path"))
    app = make_app(LiveSettings(path, default_router(), {}), tmp_path, *(["--root-path", root] if root else []))
    client = TestClient(app)
    user = {"Authorization": "Bearer user"}
    for read in ("/metrics", "/v1/models", "/no/such/path"):
        assert client.post(f"{root}{read}").status_code == 401, "it would take a place until its body has come"
    assert client.get(f"{root}/metrics").status_code == 200
    assert client.post(f"{root}/metrics", headers=user).status_code == 200
    assert client.get(f"{root}/no/such/path").status_code == 404
    assert client.post(f"{root}/v1/route", json={"prompt": "a"}).status_code == 200
    assert client.put(f"{root}/v1/route", json={"prompt": "a"}).status_code == 401
    assert client.put(f"{root}/v1/route", json={"prompt": "a"}, headers=user).status_code == 405


def test_what_changes_the_engine_needs_an_admins_key(config: Path) -> None:
    """Of all that vLLM can be asked to do: a call that a new version brings has to be sorted in."""
    app = make_guarded(config)
    client = TestClient(app, raise_server_exceptions=False)  # there is no engine behind most of them
    posts = {path for method, path in operations(app.routes) if method == "POST"}
    user = {"Authorization": "Bearer user"}
    refused = {path for path in posts if client.post(path, headers=user, json={}).status_code == 403}
    assert posts - refused <= CLIENTS
    assert {"/scale_elastic_ep", "/collective_rpc", "/sleep", "/admin/reload"} <= refused
    assert client.post("/sleep", headers={"Authorization": "Bearer ops"}, json={}).status_code != 403


def test_vllms_own_variable_becomes_a_key_and_is_not_inherited(tmp_path: Path) -> None:
    with mock.patch.dict(os.environ, VLLM_API_KEY="plain"):
        assert take_keys(parse_arguments([str(tmp_path)])) == {"api-key-1": hash_key("plain")}
        assert "VLLM_API_KEY" not in os.environ


def test_without_keys_all_is_open(tmp_path: Path) -> None:
    client = TestClient(make_app(LiveSettings(None, default_router(), {}), tmp_path))
    assert client.get("/version").status_code == 200
    assert client.get("/version", headers={"Authorization": "Bearer none"}).status_code == 200
    assert client.post("/admin/reload").status_code == 403, "but the calls that need an admin's key"
