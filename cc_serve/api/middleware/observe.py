"""The outermost middleware: it gives every request an id, and counts and logs each generation request when it is over.

It surrounds even Starlette's handling of unexpected errors, so that every response has an id, and every request is
counted exactly once.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_serve.api.middleware.request_id import named, with_request_id
from cc_serve.api.telemetry.answer_language import note_answer_language
from cc_serve.api.telemetry.metrics import count_request
from cc_serve.api.telemetry.record import RequestRecord, current_record
from cc_serve.paths import generating_path


class ObservingMiddleware:
    """Keeps a `RequestRecord` of each request. Streams pass unchanged.

    Args:
        app: the whole application.
        log: receives the records of generation requests that are over.
    """

    def __init__(
        self,
        app: ASGIApp,
        log: Callable[[RequestRecord], object] = lambda _record: None,
    ) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope, request_id = with_request_id(scope)
        generates = generating_path(scope)
        record = RequestRecord(request_id, generates or scope["path"])
        token = current_record.set(record)
        try:
            await self.app(scope, _watched(record, receive), _followed(record, send))
        finally:
            current_record.reset(token)
            if generates is not None:
                count_request(record)
                note_answer_language(record)
                self.log(record)


def _watched(record: RequestRecord, receive: Receive) -> Receive:
    """Notes that the client leaves. HTTP servers also report that after a response, when it does not count."""

    async def watched() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect" and not record.complete:
            record.left = True
        return message

    return watched


def _followed(record: RequestRecord, send: Send) -> Send:
    """Gives the response its id, and notes its status and end."""

    async def followed(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            message["headers"] = named(message["headers"], record.request_id)
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            # Sending to a client that has left raises no error.
            record.complete = not record.left

    return followed
