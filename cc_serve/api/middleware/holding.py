"""The middleware that holds a request's connection until the request is over."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from cc_serve.api.connections import Connections
from cc_serve.api.middleware.authentication import caller_of


class HoldingMiddleware:
    """Counts each request for the connection of its caller's router. It stands right behind the keys.

    Args:
        app: the application behind.
        connections: the connections of this process.
    """

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self.app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with self._connections.begun_with(caller_of(scope).router.sha256 or ""):
            await self.app(scope, receive, send)
