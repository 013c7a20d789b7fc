"""The connection layer in vLLM's own application, without an engine: the order of what surrounds the endpoints."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from vllm.entrypoints.launchers.app import build_app
from vllm.v1.engine.exceptions import EngineDeadError

from cc_serve.api.arguments import parse_arguments
from cc_serve.api.drain import Drain
from cc_serve.api.server import add_connection_layer
from cc_serve.routing import default_router

UNKNOWN = {"prompt": "a", "cc_connection": "xx"}


@pytest.fixture
def drain() -> Drain:
    return Drain()


@pytest.fixture
def app(drain: Drain, tmp_path: Path) -> FastAPI:
    with mock.patch.dict(os.environ):
        arguments = parse_arguments([str(tmp_path), "--api-key", "secret", "--allowed-origins", '["http://page"]'])
        app = build_app(arguments, ("generate",), None)
    app.state.engine_client = mock.AsyncMock()
    add_connection_layer(app, default_router(), drain)
    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, headers={"Authorization": "Bearer secret", "Origin": "http://page"})


def test_who_is_not_let_in_learns_nothing(client: TestClient) -> None:
    assert client.post("/v1/completions", json=UNKNOWN, headers={"Authorization": "Bearer no"}).status_code == 401


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
    assert {TestClient(app).get(path).status_code for path in ("/live", "/ready", "/health", "/metrics")} == {200}
