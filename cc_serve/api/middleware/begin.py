"""Hold status and headers until the first chunk, so that routers can retry."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BeginningMiddleware:
    """Sends a response's status and headers together with its first chunk.

    vLLM sends the headers of a stream as soon as it accepts the request, which may be long before the first token. If
    the server dies in between, a router cannot retry: it may only retry requests that have no response yet.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: Message | None = None

        async def begin(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                held = message
                return
            if held is not None:
                start, held = held, None
                await send(start)
            await send(message)

        await self.app(scope, receive, begin if scope["type"] == "http" else send)
