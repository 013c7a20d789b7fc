"""Stopping without cutting clients off: running responses finish, and new requests are sent to other servers."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from cc_serve.api.drain import RETRY_AFTER_SECONDS, Drain
from cc_serve.api.errors import unavailable
from cc_serve.paths import READING_METHODS


class DrainMiddleware:
    """Counts requests until the last byte of their response, and answers 503 once stopping."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self.app(scope, receive, send)
        elif self.drain.enter():
            try:
                await self.app(scope, receive, send)
            finally:
                self.drain.leave()
        else:
            message = "the server is shutting down; send the request to another one"
            await unavailable(message, RETRY_AFTER_SECONDS)(scope, receive, send)
