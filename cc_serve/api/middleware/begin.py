"""A response begins with its first piece, so that until then it can still be refused, or asked of another server."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BeginningMiddleware:
    """Holds a response's status and headers until there is something to send after them.

    Streams send theirs as soon as a request is accepted, long before the first token where requests wait. From then on
    nobody can help a request whose server dies: a router may send on only what has no response yet.
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
