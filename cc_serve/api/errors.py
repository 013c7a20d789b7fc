"""Errors in the shape of OpenAI's API, which its clients turn into exceptions."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


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
