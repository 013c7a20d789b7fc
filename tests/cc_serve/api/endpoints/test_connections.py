"""Which connection to serve, by a call; test_exchange.py has the change itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support.application import make_app, write_keys

OPS, USER = ({"x-api-key": key} for key in ("ops", "user"))
PATH = "/admin/connections"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    settings = LiveSettings(write_keys(tmp_path / "server.yaml"), default_router(), {})
    return TestClient(make_app(settings, tmp_path))


def test_only_an_admin_may_ask(client: TestClient) -> None:
    assert client.get(PATH, headers=OPS).json()["served_by_all"] is True
    for refused in (client.get(PATH, headers=USER), client.post(PATH, headers=USER, json={"directory": "/x"})):
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "PermissionDeniedError")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"directory": ""},
        {"directory": None},
        {"directory": 7},
        {"directory": "a\0b"},
        {"directory": "a\ud800b"},
        {"directory": "x" * 5000},
        {"directory": "/models/refit", "other": 1},
    ],
)
def test_what_is_no_path_is_refused(client: TestClient, body: dict[str, object]) -> None:
    headers = {**OPS, "Content-Type": "application/json"}
    refused = client.post(PATH, headers=headers, content=json.dumps(body))
    assert refused.status_code == 400, refused.text
    assert ("directory" if "other" not in body else "other") in refused.json()["error"]["message"]
