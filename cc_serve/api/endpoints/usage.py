"""``GET /admin/usage``: what each key has used, as JSON or CSV."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from cc_serve.api.errors import ErrorBody, RefusedError, error_response, unavailable
from cc_serve.api.middleware.authentication import admin_refusal, caller_of
from cc_serve.api.tenants.periods import utc_now
from cc_serve.api.tenants.usage import Ledger, Usage, UsageError, totals

_FORMATS: Final = ("json", "csv")
_COLUMNS: Final = ("key", "day", "language", "connection", "requests", "prompt_tokens", "answer_tokens")
_MOST_DAYS: Final = 800


def usage_endpoint(ledger: Ledger | None) -> APIRouter:
    """The endpoint, which is for operators.

    Args:
        ledger: the usage; None if it is not kept.
    """
    router = APIRouter()
    statuses: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in (400, 401, 403, 404, 503)}

    @router.get("/admin/usage", responses=statuses)
    async def usage(
        request: Request,
        first: str | None = None,
        last: str | None = None,
        key: str | None = None,
        format: str = "json",
    ) -> Response:
        """Requests and tokens by key, day, language and connection; this month's by default."""
        if not caller_of(request.scope).admin:
            return admin_refusal()
        if ledger is None:
            return error_response(
                "usage is not kept; configure limits.store or usage.file", status=404, type="NotFoundError"
            )
        today = utc_now().date()
        try:
            begin, end = _day("first", first, today.replace(day=1)), _day("last", last, today)
            if format not in _FORMATS:
                raise RefusedError(f"'format' must be one of {', '.join(_FORMATS)}", "format")
            if not 0 <= (end - begin).days < _MOST_DAYS:
                raise RefusedError(f"'last' must be 'first' or a day fewer than {_MOST_DAYS} days later", "last")
            found = await ledger.report(begin, end)
        except RefusedError as error:
            return error_response(str(error), param=error.param)
        except UsageError as error:
            return unavailable(f"usage cannot be read now: {error}")
        if key is not None:
            found = {heading: amounts for heading, amounts in found.items() if (heading.key or "") == key}
        # In a thread: a long report takes a second, for which every answer would wait.
        return await asyncio.to_thread(_written, found, format, {"first": str(begin), "last": str(end)})

    return router


def _written(usage: Usage, format: str, days: dict[str, str]) -> Response:
    if format == "csv":
        return Response(as_csv(usage), media_type="text/csv")
    return JSONResponse({**days, **as_json(usage)})


def as_json(usage: Usage) -> dict[str, Any]:
    """Rows, and their sums by key; ``key`` is null for requests without one."""
    sums = sorted(totals(usage).items(), key=lambda item: item[0] or "")
    return {
        "usage": [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(usage)],
        "totals": [{"key": key, **asdict(amounts)} for key, amounts in sums],
    }


def as_csv(usage: Usage) -> str:
    """The rows under a line of names."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(usage))
    return text.getvalue()


def _rows(usage: Usage) -> list[tuple[str | int | None, ...]]:
    """By day, key, language and connection; in the order of the columns."""
    ordered = sorted(usage, key=lambda heading: (heading.day, heading.key or "", heading.language, heading.connection))
    return [(*heading, *asdict(usage[heading]).values()) for heading in ordered]


def _day(name: str, text: str | None, default: date) -> date:
    try:
        return default if text is None else date.fromisoformat(text)
    except ValueError:
        raise RefusedError(f"{name!r} must be a day such as 2026-01-31", name) from None
