"""uvicorn's fast HTTP protocol (httptools), with bounds on headers that only its slow one (h11) has."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cc_serve.api.telemetry.metrics import count_limit

#: How many seconds a client has for the headers of a request, from its first byte; on a new connection, from its start.
HEADER_SECONDS: Final = 30.0
_ABORT: Final = "cc_serve.abort"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses headers of more than ``h11_max_incomplete_event_size`` bytes or ``h11_max_header_count`` fields with 431.

    It answers as soon as too many bytes have come, and closes connections whose headers do not come in time.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._most_bytes = self.config.h11_max_incomplete_event_size
        self._most_headers: int | None = getattr(self.config, "h11_max_header_count", None)
        self._in_headers = True
        self._header_bytes = 0
        self._excess = False
        self._deadline: asyncio.TimerHandle | None = None
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
            self._start_deadline()
        super().data_received(data)
        if self._in_headers and self._too_many_bytes() and not self.transport.is_closing():
            self._refuse_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self._most_headers is not None and len(self.headers) > self._most_headers:
            self._excess = True
            raise ValueError("too many headers")  # stops the parser, which reports a malformed request

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True
        self._header_bytes = 0

    def send_400_response(self, msg: str) -> None:
        if self._excess:
            self._refuse_headers()
        else:
            super().send_400_response(msg)

    def _too_many_bytes(self) -> bool:
        return self._most_bytes is not None and self._header_bytes > self._most_bytes

    def _refuse_headers(self) -> None:
        count_limit("headers")
        message = b"the request's headers are larger, or more of them, than this server accepts"
        head = [
            STATUS_LINE[431],
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(message),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*head, message]))
        self.transport.close()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def abort(scope: Scope) -> None:
    """Close a request's connection without waiting for its client. Does nothing under another server's protocol."""
    close: Any = scope.get(_ABORT)
    if close is not None:
        close()
