"""Requests that are held out: which ones, on which side, and where the answer, the metrics and the log say so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from cc_serve.api.endpoints.route import explain_endpoint
from cc_serve.api.middleware.authentication import KeyMiddleware, caller_of
from cc_serve.api.middleware.connection import ConnectionMiddleware
from cc_serve.api.middleware.observe import ObservingMiddleware
from cc_serve.api.telemetry.request_log import request_log
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.holdout import Side, side_of
from cc_serve.routing.router import Router
from tests.support.echo import client_of, echo_app

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
COMPLETIONS = "/v1/completions"
SHARE = 0.5
HELD, CONNECTED = (
    next(f"user-{n}" for n in range(99) if side_of(f"user-{n}", SHARE) is side) for side in (Side.PLAIN, Side.CONNECTED)
)

router = Router(["global", "de"], ["de", "fr"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.yaml"


def post(path: Path, body: dict[str, Any], to: str = COMPLETIONS, **headers: str) -> httpx.Response:
    """Send ``body`` to a server whose configuration is the file ``path``, and whose log is beside it."""
    settings = LiveSettings(path, router, {})
    app: FastAPI = FastAPI()
    app.include_router(explain_endpoint(lambda request: caller_of(request.scope)))
    app.mount("/", echo_app())
    guarded = KeyMiddleware(ConnectionMiddleware(app), settings)
    server = ObservingMiddleware(guarded, request_log(str(path.with_suffix(".log"))))

    async def send() -> httpx.Response:
        async with client_of(server) as client:
            return await client.post(to, json=body, headers=headers)

    return asyncio.run(send())


def side(response: httpx.Response) -> tuple[str | None, str | None]:
    return response.headers.get("X-CC-Connection"), response.headers.get("X-CC-Holdout")


@pytest.mark.parametrize(("user", "connection", "expected"), [(HELD, "off", "plain"), (CONNECTED, "de", "connected")])
@pytest.mark.parametrize("named", ["user", "safety_identifier", "metadata"])
def test_a_user_stays_on_one_side(path: Path, user: str, connection: str, expected: str, named: str) -> None:
    path.write_text(f"routing: {{holdout: {SHARE}}}")
    body = {"prompt": GERMAN, named: {"user_id": user} if named == "metadata" else user}
    for _ in range(2):
        response = post(path, body)
        assert side(response) == (connection, expected)
        asked = json.loads(response.json()["body"].encode("latin-1"))
        assert asked.get("vllm_xargs", {}).get("cc_connection", "off") == connection
        plan = post(path, body, "/v1/route").json()
        assert (plan["connection"], plan["holdout"]) == (connection, expected)
        assert plan["rule"] == ("holdout" if connection == "off" else "classifier")
        assert plan["plain"] == ("holdout" if connection == "off" else None)


def test_without_a_user_the_request_draws_by_its_id(path: Path) -> None:
    path.write_text(f"routing: {{holdout: {SHARE}}}")
    for name, connection in ((HELD, "off"), (CONNECTED, "de")):
        body = {"prompt": GERMAN, "user": ""}
        assert side(post(path, body, **{"X-Request-Id": name}))[0] == connection
        assert post(path, body, "/v1/route", **{"X-Request-Id": name}).json()["connection"] == connection


def test_requests_without_user_and_id_are_spread(path: Path) -> None:
    path.write_text(f"routing: {{holdout: {SHARE}}}")
    assert {side(post(path, {"prompt": GERMAN})) for _ in range(40)} == {("off", "plain"), ("de", "connected")}


@pytest.mark.parametrize(
    ("body", "connection"),
    [
        ({"prompt": "Where is the nearest train station, please?"}, "off"),
        ({"prompt": "123"}, "off"),
        ({"prompt": GERMAN, "cc_connection": "off"}, "off"),
        ({"prompt": GERMAN, "cc_connection": "global"}, "global"),
        ({"prompt": GERMAN, "cc_connection": "de"}, "de"),
        ({"prompt": GERMAN, "use_beam_search": True}, "off"),
        ({"messages": [{"role": "user", "content": GERMAN}], "chat_template_kwargs": {"a": 1}}, "off"),
    ],
)
def test_who_is_not_connected_by_routing_is_on_no_side(path: Path, body: dict[str, Any], connection: str) -> None:
    path.write_text("routing: {holdout: 1}")
    assert side(post(path, {**body, "user": HELD})) == (connection, None)


@pytest.mark.parametrize(("share", "expected"), [(0, ("de", None)), (0.0, ("de", None)), (1, ("off", "plain"))])
def test_nobody_and_everybody(path: Path, share: float, expected: tuple[str, str | None]) -> None:
    path.write_text(f"routing: {{holdout: {share}}}")
    assert side(post(path, {"prompt": GERMAN})) == expected


def test_a_key_may_have_a_share_of_its_own(path: Path) -> None:
    keys = "".join(
        f"  {name}: {{sha256: {hash_key(name)}, routing: {routing}}}\n"
        for name, routing in (("all", "{holdout: 1}"), ("none", "{holdout: 0}"), ("same", "{threshold: 0.5}"))
    )
    path.write_text(f"routing: {{holdout: {SHARE}}}\nkeys:\n{keys}")
    found = {
        (name, user): side(post(path, {"prompt": GERMAN, "user": user}, Authorization=f"Bearer {name}"))
        for name in ("all", "none", "same")
        for user in (HELD, CONNECTED)
    }
    assert found == {
        ("all", HELD): ("off", "plain"),
        ("all", CONNECTED): ("off", "plain"),
        ("none", HELD): ("de", None),
        ("none", CONNECTED): ("de", None),
        ("same", HELD): ("off", "plain"),
        ("same", CONNECTED): ("de", "connected"),
    }


def test_metrics_and_log_name_the_side(path: Path) -> None:
    path.write_text(f"routing: {{holdout: {SHARE}}}")

    def count(connection: str, holdout: str) -> float:
        labels = {"language": "de", "connection": connection, "outcome": "ok", "holdout": holdout}
        return REGISTRY.get_sample_value("cc:requests_total", labels) or 0

    sides = (("off", "plain"), ("de", "connected"))
    before = [count(*labels) for labels in sides]
    for user in (HELD, CONNECTED):
        post(path, {"prompt": GERMAN, "user": user})
    post(path, {"prompt": GERMAN, "user": HELD, "cc_connection": "de"})
    assert [count(*labels) for labels in sides] == [value + 1 for value in before]
    log = [json.loads(line) for line in path.with_suffix(".log").read_text().splitlines()]
    told = [(line["connection"], line["holdout"], line["overridden"]) for line in log]
    assert told == [("off", "plain", False), ("de", "connected", False), ("de", None, True)]
    assert HELD not in path.with_suffix(".log").read_text()
