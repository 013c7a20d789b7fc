"""``POST /v1/route``: what a generation request would get, and why."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from cc_serve.api.endpoints.route import explain_endpoint
from cc_serve.api.errors import RefusedError
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import Router, UnknownConnectionError
from tests.support.connecting import connect_body

GERMAN = "Wo ist der nächste Bahnhof, bitte?"

router = Router(["global", "de"], ["de", "fr"])


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    everybody = LiveSettings(None, router, {}).current.anonymous
    app.include_router(explain_endpoint(lambda _request: everybody))
    return TestClient(app)


@pytest.mark.parametrize(
    "body",
    [{"prompt": GERMAN}, {"input": GERMAN}, {"messages": [{"role": "user", "content": GERMAN}], "model": "tiny"}],
)
def test_it_says_what_was_judged_and_how(client: TestClient, body: dict[str, Any]) -> None:
    plan = client.post("/v1/route", json=body).json()
    assert (plan["language"], plan["connection"], plan["rule"], plan["obstacle"]) == ("de", "de", "classifier", None)
    assert plan["text"] == GERMAN
    assert next(iter(plan["scores"])) == "de"
    assert plan["confidence"] == pytest.approx(plan["scores"]["de"], abs=1e-3)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": GERMAN},
        {"prompt": GERMAN, "cc_connection": "off"},
        {"prompt": GERMAN, "use_beam_search": True},
        {"prompt": ["Wo ist der Bahnhof, bitte?", "Where is the station, please?"]},
        {"prompt": "123", "cc_connection": "fr"},
        {"prompt": [1, 2]},
        {},
    ],
)
def test_it_is_what_generating_does(client: TestClient, body: dict[str, Any]) -> None:
    response = client.post("/v1/route", json=body)
    _, connected = connect_body(response.request.content, router, "/v1/completions")
    assert connected is not None
    plan = response.json()
    assert (plan["language"], plan["connection"]) == (connected.route.language, connected.route.connection)
    assert (plan["plain"] is None) == (plan["connection"] != "off")


def test_it_names_the_obstacle(client: TestClient) -> None:
    plan = client.post("/v1/route", json={"prompt": GERMAN, "use_beam_search": True}).json()
    assert (plan["language"], plan["connection"], plan["obstacle"]) == ("de", "off", "beam search")
    assert plan["plain"] == "obstacle"


def test_it_says_that_prompts_disagree(client: TestClient) -> None:
    plan = client.post("/v1/route", json={"prompt": [GERMAN, "Where is the station, please?"]}).json()
    assert (plan["connection"], plan["plain"]) == ("off", "prompts-disagree")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"cc_connection": "xx"}, "cc_connection"),
        ({"vllm_xargs": {"cc_connection": "de"}}, "vllm_xargs"),
        ({"messages": 5}, "messages"),
        ({"prompt": ["a"] * 1025}, "prompt"),
    ],
)
def test_what_generating_would_refuse_is_refused(client: TestClient, more: dict[str, Any], param: str) -> None:
    response = client.post("/v1/route", json={"prompt": GERMAN, **more})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    with pytest.raises((RefusedError, UnknownConnectionError)):
        connect_body(response.request.content, router, "/v1/completions")


def test_lone_surrogates_come_back_as_they_were(client: TestClient) -> None:
    response = client.post(
        "/v1/route",
        content=b'{"prompt": "Wo ist der Bahnhof, bitte? \\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert response.json()["text"].endswith("\ud800")
