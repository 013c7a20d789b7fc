"""The path that middleware judges is the path that Starlette's router takes."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from cc_serve.api.paths import route_path


async def _told(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse(scope["path_params"]["path"])(scope, receive, send)


@pytest.mark.parametrize("root", ["", "/", "/a", "/a/b", "/v", "a"])
@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a/b", "/a/b/v1/x", "/v1/x", "//v1/x", "/ab/x", "/A/x"])
def test_it_is_the_routers(root: str, path: str) -> None:
    router = Router([Route("/{path:path}", _told)])
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": [], "query_string": b""}
    asyncio.run(router(dict(scope), receive, send))
    if sent[0]["status"] != 200:
        assert route_path(scope) == "", "only the root itself matches no route"
    else:
        assert sent[1]["body"].decode() == f'"{route_path(scope).removeprefix("/")}"'
