"""Errors that end the engine's work on a request early: the client gets them, and they are counted and logged.

vLLM logs a traceback in each layer that such an error passes. This server logs one line, which says as much.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from cc_serve.api.errors import ErrorDetail
from cc_serve.api.telemetry.record import REFUSALS, RequestRecord, current_record
from cc_serve.api.vllm import EngineDeadError, GracefulHTTPError, VLLMClientError, create_error_response

logger = logging.getLogger(__name__)


class DeadlineError(GracefulHTTPError):
    """The request took longer than the server allows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request ran into the deadline of {seconds:g} s", HTTPStatus.GATEWAY_TIMEOUT)


class StoppedError(GracefulHTTPError):
    """The server is stopping, and has waited long enough for the request."""

    def __init__(self) -> None:
        super().__init__(
            "the server stopped before the answer was complete; send the request to another one",
            HTTPStatus.SERVICE_UNAVAILABLE,
        )


_UNFORESEEN: Final = ErrorDetail(message="internal server error", type="InternalServerError", param=None, code=500)
_EXPECTED = (GracefulHTTPError, VLLMClientError, EngineDeadError)


def expected(error: BaseException | None) -> Exception | None:
    """The first of ``error`` and its causes that is expected, and so needs no traceback; None without one."""
    while error is not None:
        if isinstance(error, _EXPECTED):
            return error
        error = error.__cause__
    return None


def describe(error: Exception) -> ErrorDetail:
    """What a client learns of ``error``: the status, kind and message that vLLM chooses."""
    told = create_error_response(error).error
    return ErrorDetail(message=told.message, type=told.type, param=told.param, code=told.code)


def note_fault(record: RequestRecord, error: Exception) -> None:
    """Note that ``error`` ended the engine's work, and log it if it is the server's fault. Only the first error counts.

    If the engine refuses the request, as when its queue is full, that counts as a refusal.
    """
    if record.error is not None:
        return
    record.error = describe(error)
    record.known = expected(error) is not None
    if record.error.code < 500:
        record.failure = "client_error"
    elif record.error.code in REFUSALS and not isinstance(error, StoppedError):
        record.failure = "refused"
    else:
        record.failure = "server_error"
        if record.known:
            logger.error("request %s: %s", record.request_id, record.error.message)


def tell(fault: Exception | None) -> ErrorDetail:
    """Note on the request's record what ended the request, and say what its client learns.

    Args:
        fault: what `expected` found; None for an error that nobody foresaw, of which a client learns nothing.
    """
    told = describe(fault) if fault is not None else _UNFORESEEN
    if (record := current_record.get()) is not None:
        if fault is not None:
            note_fault(record, fault)
        record.failure = record.failure or "server_error"
        told = record.error = record.error or told
    return told


def _is_news(line: logging.LogRecord) -> bool:
    request = current_record.get()
    return not (line.exc_info and request is not None and request.known)


def quieten_known_faults() -> None:
    """Drop vLLM's tracebacks of errors that `note_fault` has noted. Call it after vLLM has set up its logs."""
    for handler in logging.getLogger("vllm").handlers:
        handler.addFilter(_is_news)
