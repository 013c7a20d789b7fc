"""Calls for operators, with a key marked ``admin``."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from cc_serve.api.errors import ErrorBody, error_response
from cc_serve.api.middleware.authentication import admin_refusal, caller_of
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings

logger = logging.getLogger(__name__)


def reload_or_keep(settings: LiveSettings) -> str | None:
    """Read the configuration file again; what is wrong with it, or None when it is in force. Logs either."""
    try:
        settings.reload()
    except ConfigurationError as error:
        logger.error("Configuration not reloaded, the old one stays: %s", error)
        return str(error)
    logger.info("Configuration reloaded: %s", settings.path or "no file")
    return None


def admin(settings: LiveSettings) -> APIRouter:
    """The operators' calls."""
    router = APIRouter()

    @router.post("/admin/reload", responses={status: {"model": ErrorBody} for status in (400, 401, 403)})
    async def reload(request: Request) -> Response:
        if not caller_of(request.scope).admin:
            return admin_refusal()
        problem = reload_or_keep(settings)
        return JSONResponse({"status": "reloaded"}) if problem is None else error_response(problem)

    return router
