"""``/admin/connections``: tells which connection is served, and changes it without a restart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from cc_serve.api.connections import Served
from cc_serve.api.endpoints.languages import connections_of
from cc_serve.api.errors import ErrorBody, RefusedError, error_response, unavailable
from cc_serve.api.exchange import ConflictError, Exchange
from cc_serve.api.middleware.authentication import admin_refusal, caller_of
from cc_serve.api.peers import PeerError


def _path(text: str) -> str:
    """Refuse characters that no path has. An answer with a lone surrogate could not even be sent."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be a path, without NUL and lone surrogates")
    return text


class Wanted(BaseModel):
    """The connection to serve."""

    model_config = ConfigDict(extra="forbid")

    directory: Annotated[str, AfterValidator(_path)] = Field(
        min_length=1, max_length=4096, description="A checkpoint of the served model, or a connection on its own."
    )


def connections_endpoint(exchange: Exchange) -> APIRouter:
    """The operators' calls."""
    router = APIRouter()

    statuses: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in (400, 401, 403, 409, 503)}

    @router.get("/admin/connections", responses={status: statuses[status] for status in (401, 403, 503)})
    async def show(request: Request) -> Response:
        """The connection that new requests begin with, and the earlier ones that running requests began with."""
        if not caller_of(request.scope).admin:
            return admin_refusal()
        return await _shown(exchange)

    @router.post("/admin/connections", responses=statuses)
    async def change(request: Request, wanted: Wanted) -> Response:
        """Serve another connection of the same model to all requests that begin from now on."""
        if not caller_of(request.scope).admin:
            return admin_refusal()
        try:
            await exchange.change(Path(wanted.directory))
        except RefusedError as error:
            return error_response(str(error), param=error.param)
        except ConflictError as error:
            return error_response(str(error), status=409, type="ConflictError")
        except PeerError as error:
            return unavailable(str(error))
        return await _shown(exchange)

    return router


async def _shown(exchange: Exchange) -> JSONResponse:
    try:
        running, by_all = await exchange.overview()
    except PeerError as error:
        return unavailable(str(error))
    connections = exchange.connections
    return JSONResponse(
        {
            "served": _one(connections.served, running),
            "served_by_all": by_all,
            "earlier": [_one(served, running) for served in connections.earlier],
        }
    )


def _one(served: Served, running: Counter[str]) -> dict[str, Any]:
    return {
        "sha256": served.sha256,
        "directory": None if served.directory is None else str(served.directory),
        "connections": connections_of(served.router),
        "languages": sorted(served.router.languages),
        "running": running[served.sha256],
    }
