"""The paths of vLLM's endpoints between text and tokens."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

from cc_serve.api.vllm import RENDER_ROUTERS
from cc_serve.paths import TOKENIZING_PATHS


def paths_of(*routers: APIRouter) -> frozenset[str]:
    """The paths of the routes of ``routers``."""
    return frozenset(route.path for router in routers for route in router.routes if isinstance(route, APIRoute))


#: The endpoints that turn text into tokens or back, and generate nothing. Cohere's is only there if its API is.
RENDERING_PATHS: Final = TOKENIZING_PATHS | paths_of(*RENDER_ROUTERS) | {"/cohere/v2/chat/render"}
