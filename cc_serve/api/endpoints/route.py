"""``POST /v1/route``: how a generation request would be routed, and why, without generating."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from cc_serve.api.errors import ErrorBody, RefusedError
from cc_serve.api.generation_request import GenerationRequest
from cc_serve.api.middleware.connection import Plan, plan, refusal, refuse_excess
from cc_serve.api.raw_prompts import NO_TOKENIZER, RawPrompts
from cc_serve.api.telemetry.record import current_record
from cc_serve.config.settings import Caller
from cc_serve.routing.router import UnknownConnectionError

_GENERATION = "/v1/chat/completions"


def explain_endpoint(caller_of: Callable[[Request], Caller], raw_prompts: RawPrompts = NO_TOKENIZER) -> APIRouter:
    """The endpoint.

    Args:
        caller_of: finds the caller, whose router and limits apply.
        raw_prompts: reads the prompts of completions.
    """
    endpoint = APIRouter()

    @endpoint.post("/v1/route", response_model=Plan, responses={400: {"model": ErrorBody}})
    async def route(request: Request, body: Annotated[dict[str, Any], Body()]) -> Response:
        """Say how the body of a generation request would be routed: the text judged, the scores, the rule."""
        asked, caller, record = GenerationRequest(body), caller_of(request), current_record.get()
        try:
            refuse_excess(asked, caller.limits)
            found = plan(asked, caller.router, _GENERATION, raw_prompts, record.request_id if record else "")
        except (RefusedError, UnknownConnectionError) as error:
            return refusal(error)
        # In ASCII, since the text may have lone surrogates, which UTF-8 cannot encode.
        return Response(json.dumps(asdict(found)), media_type="application/json")

    return endpoint
