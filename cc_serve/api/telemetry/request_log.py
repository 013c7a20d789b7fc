"""The request log: one JSON object a line for each generation request that is over."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any, Final

from cc_serve.api.telemetry.record import RequestRecord

STANDARD_OUTPUT: Final = "-"


def request_log(target: str | None) -> Callable[[RequestRecord], None]:
    """A function that writes records to ``target``: a file's path, ``-`` for standard output, None for nowhere.

    A file that is moved away, as by log rotation, is opened anew.

    Raises:
        OSError: the file cannot be opened.
    """
    if target is None:
        return lambda _record: None
    handler = logging.StreamHandler(sys.stdout) if target == STANDARD_OUTPUT else WatchedFileHandler(target)

    def write(record: RequestRecord) -> None:
        line = json.dumps(describe(record))
        handler.handle(logging.LogRecord(__name__, logging.INFO, __file__, 0, line, None, None))

    return write


def describe(record: RequestRecord) -> dict[str, Any]:
    """A record as it is logged. Times are in seconds; a value that the request did not get to is null."""
    route = record.route
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": record.request_id,
        "path": record.path,
        "status": record.status,
        "outcome": record.outcome,
        "language": record.language,
        "confidence": route.confidence if route else None,
        "connection": route.connection if route else None,
        "overridden": record.overridden,
        "holdout": record.holdout,
        "seconds": round(record.seconds, 6),
        "detection_seconds": _rounded(record.detection_seconds),
        "first_token_seconds": _rounded(record.first_token_seconds),
        "prompt_tokens": record.prompt_tokens,
        "generated_tokens": record.generated_tokens,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
