"""Errors that end the engine's work on a request early: told to the client, counted, and logged in one line.

vLLM logs a traceback in each layer that such an error passes. Those say nothing that the one line does not.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from cc_serve.api.errors import ErrorDetail
from cc_serve.api.telemetry.record import REFUSALS, RequestRecord, current_record
from cc_serve.api.vllm import EngineDeadError, GracefulHTTPError, VLLMClientError, create_error_response

logger = logging.getLogger(__name__)


class DeadlineError(GracefulHTTPError):
    """The request took longer than the server allows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request ran into the deadline of {seconds:g} s", HTTPStatus.GATEWAY_TIMEOUT)


class StoppedError(GracefulHTTPError):
    """The server was stopped, and did not wait any longer for the request."""

    def __init__(self) -> None:
        super().__init__(
            "the server stopped before the answer was complete; send the request to another one",
            HTTPStatus.SERVICE_UNAVAILABLE,
        )


_EXPECTED = (GracefulHTTPError, VLLMClientError, EngineDeadError)


def expected(error: BaseException | None) -> Exception | None:
    """The first of ``error`` and its causes that needs no traceback; None if each of them does."""
    while error is not None:
        if isinstance(error, _EXPECTED):
            return error
        error = error.__cause__
    return None


def describe(error: Exception) -> ErrorDetail:
    """What a client is told of ``error``: its status, kind and message, as vLLM chooses them."""
    told = create_error_response(error).error
    return ErrorDetail(message=told.message, type=told.type, param=told.param, code=told.code)


def note_fault(record: RequestRecord, error: Exception) -> None:
    """Note that ``error`` ended the engine's work, and log the server's own errors. Only the first error counts.

    A refusal of the engine, as when its queue is full, is counted like other refusals.
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


def _is_news(line: logging.LogRecord) -> bool:
    request = current_record.get()
    return not (line.exc_info and request is not None and request.known)


def quieten_known_faults() -> None:
    """Keep vLLM from logging tracebacks of errors that `note_fault` has logged. Call it when vLLM's logs are set up."""
    for handler in logging.getLogger("vllm").handlers:
        handler.addFilter(_is_news)
