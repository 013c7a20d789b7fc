"""A small real application behind the middleware: it answers with what reached it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

PIECES = 3


async def _echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse({"length": request.headers.get("content-length"), "body": body.decode("latin-1")})


async def _stream(request: Request) -> Response:
    wanted = json.loads(await request.body())

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(PIECES):
            yield f"data: {number}\n\n".encode()

    return StreamingResponse(pieces(), media_type="text/event-stream") if wanted.get("stream") else Response()


def echo_app(*middleware: Middleware) -> Starlette:
    """``/v1/chat/completions`` streams on demand, every other path echoes."""
    routes = [
        Route("/v1/chat/completions", _stream, methods=["POST"]),
        Route("/{path:path}", _echo, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, middleware=list(middleware))


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """A client whose requests go to ``app`` in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
