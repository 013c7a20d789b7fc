"""Errors in the shapes of OpenAI's and Anthropic's APIs, which their clients turn into exceptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

# Anthropic's names of errors. Other statuses below 500 are called invalid_request_error, and those above api_error.
_ANTHROPICS: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class ErrorDetail(BaseModel):
    """What is wrong: the message, vLLM's name for such errors, the field to correct, and the HTTP status."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorBody(BaseModel):
    """An error response's body."""

    error: ErrorDetail


class RefusedError(ValueError):
    """The request asks for something that the server cannot do; ``param`` is the field to correct."""

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
    """An error response; ``type`` and ``status`` are those of vLLM's own errors."""
    error = {"message": message, "type": type, "param": param, "code": status}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def unavailable(message: str, seconds: int | None = None) -> JSONResponse:
    """The refusal of a request that the server cannot serve now; it may in ``seconds``, if these are known."""
    headers = None if seconds is None else {"Retry-After": str(seconds)}
    return error_response(message, status=503, type="ServiceUnavailableError", headers=headers)


async def http_error(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for the errors that Starlette's routing (404, 405) and FastAPI raise.

    vLLM's own handler only takes FastAPI's subclass, so that the other errors would have another shape. It also drops
    headers such as ``Allow``.
    """
    assert isinstance(error, HTTPException)  # it is registered for no other
    type = HTTPStatus(error.status_code).phrase
    return error_response(str(error.detail), status=error.status_code, type=type, headers=error.headers)


def anthropic_error(error: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """An error in Anthropic's shape.

    Args:
        error: the fields of an `ErrorDetail`.
        request_id: the id of the request.
    """
    status = int(error["code"])
    kind = _ANTHROPICS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": error["message"]}, "request_id": request_id}


def anthropic_event(error: ErrorDetail, request_id: str) -> bytes:
    """The event that ends a stream of the Messages API early."""
    return b"event: error\ndata: %s\n\n" % json.dumps(anthropic_error(error.model_dump(), request_id)).encode()


def openai_event(error: ErrorDetail, path: str) -> bytes:
    """The event that ends a stream early: that of the Responses API, or what vLLM sends for chat and completions."""
    content: dict[str, Any] = {"error": error.model_dump()}
    if path.endswith("/responses"):
        content = {"type": "error", "code": str(error.code), "message": error.message, "param": error.param, **content}
        return b"event: error\ndata: %s\n\n" % json.dumps(content).encode()
    return b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(content).encode()
