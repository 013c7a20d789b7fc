"""Probes: ``/live`` while the process answers, ``/ready`` while it should be sent requests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from cc_serve.api.drain import Drain
from cc_serve.api.vllm import EngineDeadError


def probes(drain: Drain) -> APIRouter:
    """The probes; ``drain`` knows whether the server is stopping."""
    router = APIRouter()

    @router.get("/live")
    async def live() -> JSONResponse:
        return JSONResponse({"status": "live"})

    @router.get("/ready")
    async def ready(request: Request) -> JSONResponse:
        if drain.stopping:
            return JSONResponse({"status": "stopping"}, status_code=503)
        try:
            await request.app.state.engine_client.check_health()
        except EngineDeadError:
            return JSONResponse({"status": "engine dead"}, status_code=503)
        return JSONResponse({"status": "ready"})

    return router
