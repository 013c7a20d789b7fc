"""The path that middleware judges is the path that Starlette's router takes."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router
from starlette.types import Message

from cc_serve.paths import CONNECTED_PATHS, PLAIN_PATHS, route_path
from tests.support.paths import ROOT


async def _told(request: Request) -> JSONResponse:
    return JSONResponse(request.path_params["path"])


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
        assert not route_path(scope).startswith("/"), "only these match no route"
    else:
        assert f"/{json.loads(sent[1]['body'])}" == route_path(scope)


def test_the_page_names_each_path_that_generates() -> None:
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert [path for path in CONNECTED_PATHS | PLAIN_PATHS if f"`{path}`" not in text] == []
