"""Errors of the Messages API in the shape that Anthropic's clients read, wherever in the server they come from."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_serve.api.errors import anthropic_error, anthropic_event
from cc_serve.api.middleware.held_answer import HeldAnswer
from cc_serve.api.telemetry.record import RequestRecord, current_record
from cc_serve.paths import MESSAGES_PATH, route_path

#: Anthropic's clients read the id of a request here.
HEADER: Final = "request-id"


class AnthropicMiddleware:
    """Translates error responses of ``/v1/messages``, and the events that end its streams early; adds ``request-id``.

    Only the outermost middleware sees all of them, since FastAPI, vLLM and our middleware refuse requests, each in
    OpenAI's shape. If an error ends a stream, vLLM itself sends an error about parsing it.

    Args:
        app: the application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_messages = scope["type"] == "http" and route_path(scope).startswith(MESSAGES_PATH)
        await self.app(scope, receive, _translated(send) if of_messages else send)


def _translated(send: Send) -> Send:
    record = current_record.get()
    request_id = record.request_id if record else ""
    held: HeldAnswer | None = None
    streamed = told = False

    async def translating(message: Message) -> None:
        nonlocal held, streamed, told
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers[HEADER] = request_id
            kind = headers.get("content-type", "")
            streamed = kind.startswith("text/event-stream")
            if message["status"] >= 400 and kind.startswith("application/json"):
                status = int(message["status"])
                held = HeldAnswer(message, lambda body: _translated_error(body, status, record, request_id))
            else:
                await send(message)
        elif held is not None:
            await held.add(message, send)
        elif streamed and record is not None and record.error is not None:
            # The endpoint now sends an event that no client understands.
            event = b"" if told else anthropic_event(record.error, request_id)
            told = True
            await send({**message, "body": event})
        else:
            await send(message)

    return translating


def _translated_error(body: bytes, status: int, record: RequestRecord | None, request_id: str) -> bytes:
    if record is not None and record.error is not None and status >= 500:
        return json.dumps(anthropic_error(record.error.model_dump(), request_id)).encode()
    try:
        # vLLM's own errors have Anthropic's shape already, but neither its names nor the id.
        error: Any = {"code": status, "message": json.loads(body)["error"]["message"]}
        return json.dumps(anthropic_error(error, request_id)).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return body
