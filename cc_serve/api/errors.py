"""Errors in the shape of OpenAI's API, which its clients turn into exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse


class ErrorDetail(BaseModel):
    """What is wrong: in words, as vLLM calls such errors, the field to correct, and the HTTP status."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorBody(BaseModel):
    """An error response's body."""

    error: ErrorDetail


def error_response(
    message: str,
    *,
    status: int = 400,
    type: str = "BadRequestError",
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error response; ``type`` and ``code`` as vLLM's own errors have them."""
    error = {"message": message, "type": type, "param": param, "code": status}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


async def http_error(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for what routing refuses (404, 405) and FastAPI raises itself.

    vLLM's own handles FastAPI's subclass only: these would have another shape, and its handler drops the headers,
    such as ``Allow``.
    """
    assert isinstance(error, HTTPException)  # it is registered for no other
    type = HTTPStatus(error.status_code).phrase
    return error_response(str(error.detail), status=error.status_code, type=type, headers=error.headers)
