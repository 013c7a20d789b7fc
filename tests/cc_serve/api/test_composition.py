"""What is added to vLLM's own application, without an engine: the order of the middleware."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from vllm.entrypoints.launchers.app import build_app
from vllm.v1.engine.exceptions import EngineDeadError

import cc_serve.api
from cc_serve.api.arguments import parse_arguments, take_keys
from cc_serve.api.composition import Parts, add_endpoints_and_middleware
from cc_serve.api.drain import Drain
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router

UNKNOWN = {"prompt": "a", "cc_connection": "xx"}


@pytest.fixture
def drain() -> Drain:
    return Drain()


@pytest.fixture
def app(drain: Drain, tmp_path: Path) -> FastAPI:
    with mock.patch.dict(os.environ):
        arguments = parse_arguments([str(tmp_path), "--api-key", "secret", "--allowed-origins", '["http://page"]'])
        settings = LiveSettings(None, default_router(), take_keys(arguments))
        app = build_app(arguments, ("generate",), None)
    app.state.engine_client = mock.AsyncMock()
    add_endpoints_and_middleware(app, Parts(settings=settings, drain=drain))
    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, headers={"Authorization": "Bearer secret", "Origin": "http://page"})


def test_who_is_not_let_in_learns_nothing(client: TestClient) -> None:
    assert client.post("/v1/completions", json=UNKNOWN, headers={"Authorization": "Bearer no"}).status_code == 401


def test_the_timeline_tells_the_middleware_in_their_order(app: FastAPI) -> None:
    modules = [middleware.cls.__module__ for middleware in app.user_middleware]  # type: ignore[attr-defined]
    ours = [module.removeprefix("cc_serve.api.") for module in modules if module.startswith("cc_serve.")]
    assert len(ours) == 6
    places = [str(cc_serve.api.__doc__).index(f"`{module}`") for module in ["middleware.observe", *ours]]
    assert places == sorted(places)


def test_browsers_can_read_a_refusal(client: TestClient, drain: Drain) -> None:
    refused = client.post("/v1/completions", json=UNKNOWN)
    drain.stop(timeout=0)
    stopping = client.post("/v1/completions", json=UNKNOWN)
    assert (refused.status_code, stopping.status_code) == (400, 503)
    assert (
        refused.headers["Access-Control-Allow-Origin"]
        == stopping.headers["Access-Control-Allow-Origin"]
        == "http://page"
    )


def test_readiness_follows_the_engine_and_the_stop(app: FastAPI, client: TestClient, drain: Drain) -> None:
    assert client.get("/ready").json() == {"status": "ready"}
    app.state.engine_client.check_health.side_effect = EngineDeadError()
    assert (client.get("/ready").status_code, client.get("/live").status_code) == (503, 200)
    app.state.engine_client.check_health.side_effect = None
    drain.stop(timeout=0)
    assert (client.get("/ready").status_code, client.get("/live").status_code) == (503, 200)


def test_probes_need_no_key(app: FastAPI) -> None:
    assert {TestClient(app).get(path).status_code for path in ("/live", "/ready", "/health")} == {200}


@pytest.mark.parametrize(
    ("method", "path", "status", "type"),
    [("GET", "/v1/nothing", 404, "Not Found"), ("GET", "/v1/completions", 405, "Method Not Allowed")],
)
def test_what_is_not_there_is_refused_in_openais_shape(
    client: TestClient, method: str, path: str, status: int, type: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json() == {"error": {"message": type, "type": type, "param": None, "code": status}}
    assert response.headers.get("Allow") == ("POST" if status == 405 else None)


@pytest.mark.parametrize("body", [b"\xff", b"{", b"[]", b"[" * 100_000, b"5"])
def test_what_is_no_json_object_is_refused_in_openais_shape(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/completions", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_every_response_has_the_requests_id(app: FastAPI, client: TestClient) -> None:
    @app.get("/fails")
    async def fails() -> None:
        raise AssertionError

    client = TestClient(app, raise_server_exceptions=False, headers={"X-Request-Id": "mine"})
    expected = {"/live": 200, "/nothing": 404, "/tokenize": 405, "/v1/models": 401, "/fails": 500}
    for path, status in expected.items():
        response = client.get(path, headers={} if status == 401 else {"Authorization": "Bearer secret"})
        assert (response.status_code, response.headers.get_list("X-Request-Id")) == (status, ["mine"]), path


def test_vllms_own_flag_adds_no_second_id(tmp_path: Path, drain: Drain) -> None:
    with mock.patch.dict(os.environ):
        app = build_app(parse_arguments([str(tmp_path), "--enable-request-id-headers"]), ("generate",), None)
    add_endpoints_and_middleware(app, Parts(settings=LiveSettings(None, default_router(), {}), drain=drain))
    response = TestClient(app).get("/live")
    (request_id,) = response.headers.get_list("X-Request-Id")
    assert len(request_id) == 32
