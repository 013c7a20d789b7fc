"""Errors in the shape of OpenAI's API, which its clients turn into exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse


class ErrorDetail(BaseModel):
    """What is wrong: in words, by vLLM's name for such errors, with the field to correct and the HTTP status."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorBody(BaseModel):
    """An error response's body."""

    error: ErrorDetail


class RefusedError(ValueError):
    """The request asks for something impossible; ``param`` is the field to correct."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


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
    """Exception handler for the errors that Starlette's routing (404, 405) and FastAPI raise.

    vLLM's own handler takes FastAPI's subclass only, so that the others would have another shape. It also drops
    headers such as ``Allow``.
    """
    assert isinstance(error, HTTPException)  # it is registered for no other
    type = HTTPStatus(error.status_code).phrase
    return error_response(str(error.detail), status=error.status_code, type=type, headers=error.headers)
