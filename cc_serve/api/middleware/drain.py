"""Stopping without cutting anybody off: running responses finish, new requests are sent elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send
from vllm.v1.engine.exceptions import EngineDeadError

from cc_serve.api.errors import error_response

RETRY_AFTER_SECONDS: Final = 5
READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Drain:
    """Counts running requests, so that a stop can wait for them. Shared by the event loop and the stopping thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._stopping = False

    @property
    def stopping(self) -> bool:
        return self._stopping

    def enter(self) -> bool:
        """Count one more running request; False, and nothing counted, once stopping."""
        with self._changed:
            if not self._stopping:
                self._running += 1
            return not self._stopping

    def leave(self) -> None:
        """Count one running request less."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def stop(self, timeout: float | None) -> bool:
        """Let no request in any more and wait until none runs; False if some still ran after ``timeout`` seconds."""
        with self._changed:
            self._stopping = True
            return self._changed.wait_for(lambda: self._running == 0, timeout)


class DrainMiddleware:
    """Counts requests until the last byte of their response, and answers 503 once stopping."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self.app(scope, receive, send)
        elif self.drain.enter():
            try:
                await self.app(scope, receive, send)
            finally:
                self.drain.leave()
        else:
            response = error_response(
                "the server is shutting down; send the request to another one",
                status=503,
                type="ServiceUnavailableError",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
            await response(scope, receive, send)


class DrainingEngine:
    """Stands in for vLLM's engine client; the only difference is that shutting down first waits for the responses.

    vLLM's own drain waits until the engine has computed its last token, which may be before clients have
    received it. And as it stops, it cancels the task that hands out the engine's outputs in a race with telling it that
    the engine is gone: a clean stop may log that as an error, and answers that still run may never learn of it.
    """

    def __init__(self, engine: Any, drain: Drain) -> None:
        self._engine = engine
        self._drain = drain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def shutdown(self, timeout: float | None = None) -> None:
        """Wait for running responses and stop the engine, for ``timeout`` seconds altogether; from a thread of its own.

        What still runs then fails with ``EngineDeadError``.
        """
        start = time.monotonic()
        drained = self._drain.stop(timeout)
        remaining = None if timeout is None else max(0.0, timeout - (time.monotonic() - start))
        handler = self._engine.output_handler
        if drained and handler is not None:
            handler.get_loop().call_soon_threadsafe(handler.cancel)
        self._engine.shutdown(timeout=remaining)
        if not drained and handler is not None:
            handler.get_loop().call_soon_threadsafe(self._engine.output_processor.propagate_error, EngineDeadError())
