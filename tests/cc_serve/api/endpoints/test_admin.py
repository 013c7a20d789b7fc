"""Reloading the configuration by a call."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support.application import make_app, write_keys


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "server.yaml")


@pytest.fixture
def client(config: Path, tmp_path: Path) -> TestClient:
    return TestClient(make_app(LiveSettings(config, default_router(), {}), tmp_path))


OPS, USER, NEW = ({"x-api-key": key} for key in ("ops", "user", "new"))


def test_only_an_admin_may_reload(client: TestClient) -> None:
    assert client.post("/admin/reload", headers=OPS).json() == {"status": "reloaded"}
    refused = client.post("/admin/reload", headers=USER)
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "PermissionDeniedError")


def test_a_new_file_is_in_force_at_once(client: TestClient, config: Path) -> None:
    config.write_text(f"keys: {{new: {{sha256: {hash_key('new')}}}}}")
    assert client.get("/version", headers=NEW).status_code == 401
    assert client.post("/admin/reload", headers=OPS).status_code == 200
    assert client.get("/version", headers=NEW).status_code == 200
    assert client.get("/version", headers=OPS).status_code == 401
    assert client.get("/metrics").status_code == 401


def test_a_bad_file_changes_nothing_and_says_where(
    client: TestClient,
    config: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config.write_text("keys: {}\nlimits: {choices: 0}")
    with caplog.at_level(logging.ERROR, "vllm.cc_serve"):
        response = client.post("/admin/reload", headers=OPS)
    place = f"{config}: limits.choices: should be greater than 0"
    assert response.status_code == 400
    assert place in response.json()["error"]["message"]
    assert client.get("/version").status_code == 401, "the old keys are still needed"
    assert client.get("/version", headers=USER).status_code == 200
