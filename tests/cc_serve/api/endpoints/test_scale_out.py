"""Every endpoint that renders is looked at, over vLLM's own application."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support.application import make_app

ODD = rb'{"user": "a \ud83d", "messages": [{"role": "user", "content": "a"}], "prompt": "a", "input": "a"}'


def test_each_endpoint_that_renders_names_what_is_odd(tmp_path: Path) -> None:
    app = make_app(LiveSettings(None, default_router(), {}), tmp_path)
    paths = {getattr(route, "path", "") for route in app.routes}
    rendering = {path for path in paths if path.endswith(("/render", "/derender"))}
    assert {"/v1/messages/render", "/v1/responses/render", "/v1/chat/completions/derender"} < rendering
    for path in rendering:
        response = TestClient(app).post(path, content=ODD, headers={"Content-Type": "application/json"})
        assert response.status_code == 400, path
        assert response.json()["error"]["message"].startswith("'user' "), path
