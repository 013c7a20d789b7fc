"""vLLM's endpoints between text and tokens: those that only render are open, those that generate from tokens closed."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.responses import Response

from cc_serve.api.errors import error_response
from cc_serve.api.vllm import RENDER_ROUTERS, TOKEN_ROUTER
from cc_serve.paths import TOKENIZING_PATHS


def _paths(*routers: APIRouter) -> frozenset[str]:
    return frozenset(route.path for router in routers for route in router.routes if isinstance(route, APIRoute))


#: The endpoints that turn text into tokens or back, and generate nothing. Cohere's is only there if its API is.
RENDERING_PATHS: Final = TOKENIZING_PATHS | _paths(*RENDER_ROUTERS) | {"/cohere/v2/chat/render"}
#: Why requests with token ids are refused.
REASON = "token ids have no language that could be detected; send text to /v1/completions"


def open_render(app: FastAPI) -> None:
    """Open the render endpoints without ``--enable-scale-out``, and have the others say why they are closed.

    vLLM registers all of them as closed, with a message that names this flag, which would open all of them.
    """
    closed = _paths(*RENDER_ROUTERS, TOKEN_ROUTER)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) not in closed]
    for router in RENDER_ROUTERS:
        app.include_router(router, include_in_schema=False)
    for path in sorted(_paths(TOKEN_ROUTER)):
        app.add_api_route(path, _refuse, methods=["POST"], include_in_schema=False)


async def _refuse() -> Response:
    return error_response(REASON, status=403, type="PermissionDeniedError")
