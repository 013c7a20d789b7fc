"""Calls for operators, with a key marked ``admin``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from cc_serve.api.errors import ErrorBody, error_response, unavailable
from cc_serve.api.middleware.authentication import admin_refusal, caller_of
from cc_serve.api.peers import PeerError
from cc_serve.api.reload import Reload


def admin(reload: Reload) -> APIRouter:
    """The operators' calls."""
    router = APIRouter()

    @router.post("/admin/reload", responses={status: {"model": ErrorBody} for status in (400, 401, 403, 503)})
    async def read_again(request: Request) -> Response:
        if not caller_of(request.scope).admin:
            return admin_refusal()
        try:
            problem = await reload.everywhere()
        except PeerError as error:
            return unavailable(str(error))
        return JSONResponse({"status": "reloaded"}) if problem is None else error_response(problem)

    return router
