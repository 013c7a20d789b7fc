"""What ends a request too early is told, counted and logged alike, whichever endpoint it was."""

from __future__ import annotations

import logging
from http import HTTPStatus

import pytest

from cc_serve.api.faults import DeadlineError, StoppedError, expected, note_fault, quieten_known_faults, tell
from cc_serve.api.telemetry.record import RequestRecord, current_record
from cc_serve.api.vllm import EngineDeadError, GracefulHTTPError, VLLMValidationError


def noted(error: Exception) -> RequestRecord:
    """The record of a request whose stream had begun when ``error`` ended it."""
    record = RequestRecord("r", "/v1/messages", status=200, complete=True)
    note_fault(record, error)
    return record


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (DeadlineError(2), "server_error", 504),
        (StoppedError(), "server_error", 503),
        (EngineDeadError(), "server_error", 500),
        (RuntimeError("unforeseen"), "server_error", 500),
        (GracefulHTTPError("the queue is full", HTTPStatus.SERVICE_UNAVAILABLE), "refused", 503),
        (VLLMValidationError("too long", parameter="prompt"), "client_error", 400),
    ],
)
def test_one_outcome_for_one_fate(error: Exception, outcome: str, code: int) -> None:
    record = noted(error)
    assert record.error is not None
    assert (record.outcome, record.error.code) == (outcome, code)
    record.status = code  # the same as a whole answer
    assert record.outcome == outcome


def test_the_first_fault_counts(caplog: pytest.LogCaptureFixture) -> None:
    record = noted(DeadlineError(2))
    note_fault(record, EngineDeadError())
    assert record.error is not None
    assert record.error.message == "the request ran into the deadline of 2 s"


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (DeadlineError(2), 504, "the request ran into the deadline of 2 s"),
        (None, 500, "internal server error"),
    ],
)
def test_a_client_learns_what_is_noted(fault: Exception | None, code: int, message: str) -> None:
    assert tell(fault).message == message, "also where nothing is observed"
    record = RequestRecord("r", "/v1/completions", status=200, complete=True)
    token = current_record.set(record)
    try:
        told = tell(fault)
        assert (told.code, told.message, record.error, record.outcome) == (code, message, told, "server_error")
        assert tell(EngineDeadError()) is told, "the first counts"
    finally:
        current_record.reset(token)


def test_a_client_that_left_has_left() -> None:
    record = noted(EngineDeadError())
    record.complete, record.left = False, True
    assert record.outcome == "disconnected"


def test_what_caused_an_error_is_found() -> None:
    outer = RuntimeError("async generator raised")
    outer.__cause__ = DeadlineError(1)
    assert expected(outer) is outer.__cause__
    assert expected(RuntimeError()) is None


def test_vllm_logs_no_traceback_of_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("vllm")
    before = list(logger.handlers)
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, line: logging.LogRecord) -> None:
            lines.append(line.getMessage())

    logger.handlers = [Keeping()]
    try:
        quieten_known_faults()
        for error in (DeadlineError(1), RuntimeError("a defect")):
            token = current_record.set(noted(error))
            logging.getLogger("vllm.entrypoints").error("in a stream: %s", error, exc_info=error)
            logging.getLogger("vllm.entrypoints").error("a line")
            current_record.reset(token)
    finally:
        logger.handlers = before
    assert lines == ["a line", "in a stream: a defect", "a line"]
