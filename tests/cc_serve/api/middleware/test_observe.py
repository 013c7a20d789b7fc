"""What becomes of requests: every one has an id, an outcome, and is counted and logged once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_serve.api.middleware.authentication import KeyMiddleware
from cc_serve.api.middleware.connection import ConnectionMiddleware
from cc_serve.api.middleware.observe import ObservingMiddleware
from cc_serve.api.telemetry.record import RequestRecord, current_record
from cc_serve.api.telemetry.request_log import request_log
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import Router

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
PATH = "/v1/completions"
DISCONNECT: Message = {"type": "http.disconnect"}

settings = LiveSettings(None, Router(["global", "de"], ["de", "fr"]), {})


def request(body: object) -> list[Message]:
    return [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]


def ask(
    endpoint: ASGIApp,
    messages: list[Message] | None = None,
    *,
    path: str = PATH,
    headers: list[tuple[bytes, bytes]] | None = None,
    log: Callable[[RequestRecord], object] = lambda _record: None,
    settings: LiveSettings = settings,
) -> tuple[RequestRecord | None, list[Message]]:
    """Send ``messages`` through the middleware to ``endpoint``: the record that was logged, and what was answered."""
    records: list[RequestRecord] = []
    sent: list[Message] = []
    waiting = iter(messages if messages is not None else request({"prompt": GERMAN}))

    async def receive() -> Message:
        return next(waiting, DISCONNECT)

    async def send(message: Message) -> None:
        sent.append(message)

    def record(entry: RequestRecord) -> None:
        records.append(entry)
        log(entry)

    app = ObservingMiddleware(KeyMiddleware(ConnectionMiddleware(endpoint), settings), record)
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers or []}
    try:
        asyncio.run(app(scope, receive, send))
    finally:
        assert len(records) <= 1
        assert current_record.get() is None
    return (records[0] if records else None), sent


def answering(status: int, pieces: int = 1) -> ASGIApp:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        for piece in range(pieces):
            await send({"type": "http.response.body", "body": b"x", "more_body": piece + 1 < pieces})

    return endpoint


def count(outcome: str, language: str = "de", connection: str = "de") -> float:
    labels = {"language": language, "connection": connection, "outcome": outcome, "holdout": "none"}
    return REGISTRY.get_sample_value("cc:requests_total", labels) or 0


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((200, "ok"), (204, "ok"), (400, "client_error"), (404, "client_error"), (422, "client_error")),
        *((401, "refused"), (413, "refused"), (429, "refused"), (503, "refused")),
        *((500, "server_error"), (501, "server_error"), (504, "server_error")),
    ],
)
def test_the_outcome_follows_the_status(status: int, outcome: str) -> None:
    before = count(outcome)
    record, _ = ask(answering(status, pieces=3))
    assert record is not None
    assert (record.status, record.outcome, record.route and record.route.connection) == (status, outcome, "de")
    assert count(outcome) == before + 1


def test_a_refusal_of_routing_is_the_clients_error_and_belongs_to_no_language() -> None:
    before = count("client_error", "none", "none")
    record, _ = ask(answering(200), request({"prompt": GERMAN, "cc_connection": "xx"}))
    assert record is not None
    assert (record.status, record.language) == (400, None)
    assert count("client_error", "none", "none") == before + 1


def test_a_client_that_leaves_midway_is_counted_as_such() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert await receive() == DISCONNECT
        await send({"type": "http.response.body", "body": b""})

    record, _ = ask(endpoint)
    assert record is not None
    assert record.outcome == "disconnected"


def test_a_client_that_leaves_while_sending_is_counted_too() -> None:
    record, sent = ask(answering(200), [{"type": "http.request", "body": b"{", "more_body": True}, DISCONNECT])
    assert record is not None
    assert (record.outcome, record.status, sent) == ("disconnected", None, [])


def test_leaving_after_the_last_byte_is_no_news() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answering(200)(scope, receive, send)
        assert await receive() == DISCONNECT

    record, _ = ask(endpoint)
    assert record is not None
    assert record.outcome == "ok"


@pytest.mark.parametrize("begun", [False, True])
def test_an_exception_is_the_servers_error(begun: bool) -> None:
    logged: list[RequestRecord] = []

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ask(endpoint, log=logged.append)
    assert [record.outcome for record in logged] == ["server_error"]


def test_a_failure_in_a_stream_that_had_begun_well_is_the_outcome() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        record = current_record.get()
        assert record is not None
        record.failure = "server_error"
        await answering(200)(scope, receive, send)

    record, _ = ask(endpoint)
    assert record is not None
    assert record.outcome == "server_error"


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/completions/render"])
def test_what_generates_nothing_has_an_id_and_is_not_counted(path: str) -> None:
    record, sent = ask(answering(200), path=path, headers=[(b"x-request-id", b"mine")])
    assert record is None
    assert (b"x-request-id", b"mine") in sent[0]["headers"]


def test_the_id_is_said_once_also_where_the_application_says_one() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        assert (b"x-request-id", b"mine") in scope["headers"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"other")]})
        await send({"type": "http.response.body", "body": b""})

    _, sent = ask(endpoint, headers=[(b"x-request-id", b"mine")])
    assert [value for name, value in sent[0]["headers"] if name == b"x-request-id"] == [b"mine"]


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def test_overrides_and_undecided_are_counted() -> None:
    undecided, overrides = sample("cc:undecided_total"), sample("cc:overrides_total", connection="global")
    detections = sample("cc:detection_seconds_count")
    ask(answering(200), request({"prompt": "123"}))
    ask(answering(200), request({"prompt": GERMAN, "cc_connection": "global"}))
    ask(answering(200), request({"prompt": "123", "cc_connection": "global"}))
    ask(answering(200), request({"prompt": GERMAN, "cc_connection": "auto"}))
    assert sample("cc:undecided_total") == undecided + 1
    assert sample("cc:overrides_total", connection="global") == overrides + 2
    assert sample("cc:detection_seconds_count") == detections + 4


def test_only_good_answers_have_a_duration() -> None:
    before = sample("cc:request_seconds_count", connection="de", holdout="none")
    ask(answering(200))
    ask(answering(500))
    assert sample("cc:request_seconds_count", connection="de", holdout="none") == before + 1


@pytest.mark.parametrize(("share", "sampled"), [(0, False), (1, True)])
@pytest.mark.parametrize("prompt", [GERMAN, "123"])
def test_an_answer_is_sampled_where_the_operator_lets_it(
    tmp_path: Path, share: int, sampled: bool, prompt: str
) -> None:
    (tmp_path / "server.yaml").write_text(f"metrics: {{answer_languages: {share}}}")
    given = LiveSettings(tmp_path / "server.yaml", Router(["global", "de"], ["de", "fr"]), {})
    record, _ = ask(answering(200), request({"prompt": prompt}), settings=given)
    assert record is not None
    assert (record.sample is not None) == (sampled and prompt == GERMAN)


def test_a_share_of_the_answers_is_sampled() -> None:
    records = [ask(answering(200))[0] for _ in range(500)]
    assert 20 <= sum(record is not None and record.sample is not None for record in records) <= 90


def logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_of_the_log(tmp_path: Path) -> None:
    log = request_log(str(tmp_path / "log"))
    key = (b"authorization", b"Bearer secret-key")
    ask(answering(200), headers=[(b"x-request-id", b"mine"), key], log=log)
    ask(answering(200), [], log=log)
    first, second = logged(tmp_path / "log")
    assert first.pop("seconds") >= first.pop("detection_seconds") > 0
    assert first.pop("time").endswith("+00:00")
    assert first.pop("confidence") > 0.9
    assert first == {
        "request_id": "mine",
        "path": PATH,
        "status": 200,
        "outcome": "ok",
        "language": "de",
        "connection": "de",
        "overridden": False,
        "holdout": None,
        "first_token_seconds": None,
        "prompt_tokens": 0,
        "generated_tokens": 0,
    }
    assert (second["outcome"], second["status"], second["connection"]) == ("disconnected", None, None)
    text = (tmp_path / "log").read_text()
    assert "Bahnhof" not in text
    assert "secret" not in text


def test_the_log_survives_its_rotation(tmp_path: Path) -> None:
    log = request_log(str(tmp_path / "log"))
    ask(answering(200), log=log)
    (tmp_path / "log").rename(tmp_path / "log.1")
    ask(answering(200), log=log)
    assert len(logged(tmp_path / "log")) == len(logged(tmp_path / "log.1")) == 1


def test_standard_output_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    ask(answering(200), log=request_log("-"))
    assert json.loads(capsys.readouterr().out)["outcome"] == "ok"
