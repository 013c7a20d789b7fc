"""``POST /v1/route``: what would happen to a generation request, and why, without generating."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from cc_serve.api.errors import ErrorBody, error_response
from cc_serve.api.middleware.connection import FIELD, Plan, RefusedError, route_request
from cc_serve.api.middleware.fields import excess
from cc_serve.config.settings import Caller
from cc_serve.routing.router import UnknownConnectionError

_GENERATION = "/v1/chat/completions"


def explain_endpoint(caller_of: Callable[[Request], Caller]) -> APIRouter:
    """The endpoint.

    Args:
        caller_of: by whose router and limits a request goes.
    """
    endpoint = APIRouter()

    @endpoint.post("/v1/route", response_model=Plan, responses={400: {"model": ErrorBody}})
    async def route(request: Request, body: Annotated[dict[str, Any], Body()]) -> Response:
        """Say how the body of a generation request would be routed: the text judged, the scores, the rule."""
        try:
            caller = caller_of(request)
            if found := excess(body, caller.limits):
                raise RefusedError(*found)
            plan = route_request(body, caller.router, _GENERATION)
        except (RefusedError, UnknownConnectionError) as error:
            return error_response(str(error), param=getattr(error, "param", FIELD))
        # In ASCII, since the text may hold lone surrogates, which UTF-8 has no form for.
        return Response(json.dumps(asdict(plan)), media_type="application/json")

    return endpoint
