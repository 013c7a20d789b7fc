"""``/admin/connections``: which connection is served, and another one without a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from cc_serve.api.connections import Connections, Served
from cc_serve.api.endpoints.languages import connections_of
from cc_serve.api.errors import ErrorBody, RefusedError, error_response
from cc_serve.api.exchange import ConflictError, Exchange
from cc_serve.api.middleware.authentication import admin_refusal, caller_of


class Wanted(BaseModel):
    """The connection to serve."""

    model_config = ConfigDict(extra="forbid")

    directory: str = Field(min_length=1, description="A checkpoint of the served model, or a connection on its own.")


def connections_endpoint(exchange: Exchange) -> APIRouter:
    """The operators' calls."""
    router = APIRouter()
    statuses: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in (400, 401, 403, 409)}

    @router.get("/admin/connections", responses={status: statuses[status] for status in (401, 403)})
    async def show(request: Request) -> Response:
        """The connection that new requests begin with, and those that running ones began with."""
        if not caller_of(request.scope).admin:
            return admin_refusal()
        return JSONResponse(_shown(exchange.connections))

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
        return JSONResponse(_shown(exchange.connections))

    return router


def _shown(connections: Connections) -> dict[str, Any]:
    return {
        "served": _one(connections, connections.served),
        "earlier": [_one(connections, served) for served in connections.earlier],
    }


def _one(connections: Connections, served: Served) -> dict[str, Any]:
    return {
        "sha256": served.sha256,
        "directory": None if served.directory is None else str(served.directory),
        "connections": connections_of(served.router),
        "languages": sorted(served.router.languages),
        "running": connections.running(served.sha256),
    }
