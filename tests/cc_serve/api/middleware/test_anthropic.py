"""Errors of the Messages API, in Anthropic's shape wherever they come from."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cc_serve.api.errors import error_response
from cc_serve.api.faults import DeadlineError, note_fault
from cc_serve.api.middleware.anthropic import AnthropicMiddleware
from cc_serve.api.middleware.observe import ObservingMiddleware
from cc_serve.api.telemetry.record import current_record
from tests.support.echo import client_of

VLLMS = {"type": "error", "error": {"type": "NotFoundError", "message": "no such model"}}


def ask(endpoint: ASGIApp, path: str = "/v1/messages") -> Any:
    async def answer() -> Any:
        async with client_of(ObservingMiddleware(AnthropicMiddleware(endpoint))) as client:
            return await client.post(path, json={}, headers={"X-Request-Id": "me"})

    return asyncio.run(answer())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error")),
        *((404, "not_found_error"), (408, "invalid_request_error"), (413, "request_too_large")),
        *((429, "rate_limit_error"), (500, "api_error"), (503, "overloaded_error"), (504, "timeout_error")),
    ],
)
def test_an_error_is_translated(status: int, kind: str) -> None:
    response = ask(error_response("it is wrong", status=status, param="x"))
    assert response.status_code == status
    assert response.json() == {
        "type": "error",
        "error": {"type": kind, "message": "it is wrong"},
        "request_id": "me",
    }
    assert response.headers["request-id"] == "me"


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/messages/render", "/v1/chat/completions"])
def test_only_the_messages_api_is_anthropics(path: str) -> None:
    response = ask(error_response("it is wrong"), path)
    assert ("request-id" in response.headers, response.json().get("type") == "error") == (
        (True, True) if "messages" in path else (False, False)
    )


def test_vllms_own_error_gets_anthropics_name_and_the_id() -> None:
    assert ask(JSONResponse(VLLMS, 404)).json() == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "no such model"},
        "request_id": "me",
    }


@pytest.mark.parametrize("content", [[], {"error": "text"}, {"detail": 5}])
def test_what_has_another_shape_passes(content: object) -> None:
    assert ask(JSONResponse(content, 400)).json() == content


def test_answers_pass() -> None:
    assert ask(JSONResponse({"error": None})).json() == {"error": None}


def test_a_fault_has_anthropics_name_for_it() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        record = current_record.get()
        assert record is not None
        note_fault(record, DeadlineError(2))
        content = {"type": "error", "error": {"type": "Gateway Timeout", "message": "late"}}
        await JSONResponse(content, 504)(scope, receive, send)

    assert ask(endpoint).json()["error"]["type"] == "timeout_error"


def test_a_stream_that_fails_ends_with_one_event() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        async def pieces() -> Any:
            yield "event: message_start\ndata: {}\n\n"
            record = current_record.get()
            assert record is not None
            note_fault(record, DeadlineError(2))
            yield 'event: error\ndata: {"message": "2 validation errors"}\n\n'
            yield "data: [DONE]\n\n"

        await StreamingResponse(pieces(), media_type="text/event-stream")(scope, receive, send)

    start, end, rest = ask(endpoint).text.split("\n\n")
    assert (start, rest) == ("event: message_start\ndata: {}", "")
    event, data = end.splitlines()
    assert event == "event: error"
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"type": "timeout_error", "message": "the request ran into the deadline of 2 s"},
        "request_id": "me",
    }
