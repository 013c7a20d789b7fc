"""vLLM's endpoints between text and tokens: those that only render are open, those that generate from tokens closed."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import Response

from cc_serve.api.errors import error_response
from cc_serve.api.rendering import paths_of
from cc_serve.api.vllm import RENDER_ROUTERS, TOKEN_ROUTER

#: Why requests with token ids are refused.
REASON = "token ids have no language that could be detected; send text to /v1/completions"


def open_render(app: FastAPI) -> None:
    """Open the render endpoints without ``--enable-scale-out``, and have the others say why they are closed.

    vLLM registers all of them as closed, with a message that names this flag, which would open all of them.
    """
    closed = paths_of(*RENDER_ROUTERS, TOKEN_ROUTER)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) not in closed]
    for router in RENDER_ROUTERS:
        app.include_router(router, include_in_schema=False)
    for path in sorted(paths_of(TOKEN_ROUTER)):
        app.add_api_route(path, _refuse, methods=["POST"], include_in_schema=False)


async def _refuse() -> Response:
    return error_response(REASON, status=403, type="PermissionDeniedError")
