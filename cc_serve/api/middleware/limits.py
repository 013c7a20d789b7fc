"""The middleware that admits requests within the limits: rates, concurrency, size, and time."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_serve.api.errors import ErrorDetail, error_response, openai_event
from cc_serve.api.faults import DeadlineError, describe, expected, note_fault
from cc_serve.api.http_protocol import abort
from cc_serve.api.middleware.authentication import caller_of
from cc_serve.api.middleware.drain import READING_METHODS, RETRY_AFTER_SECONDS, Drain
from cc_serve.api.middleware.rates import Allowance, Meter
from cc_serve.api.middleware.stall import PatientSend, StalledClientError
from cc_serve.api.request_body import BodyTooLargeError, RequestBody
from cc_serve.api.shapes import prompt_field
from cc_serve.api.telemetry.metrics import count_limit
from cc_serve.api.telemetry.record import current_record
from cc_serve.api.work import Work, current_work
from cc_serve.config.settings import Caller

#: After the deadline, how long an answer may take to say so before it is cut off.
GRACE_SECONDS: Final = 5.0
_FAILED: Final = ErrorDetail(message="internal server error", type="InternalServerError", param=None, code=500)


@dataclass
class _Use:
    """How much a key has used lately, and how many of its requests are running."""

    requests: Meter = field(default_factory=Meter)
    tokens: Meter = field(default_factory=Meter)
    running: int = 0


class LimitsMiddleware:
    """Admits as many requests as each caller's limits allow, and bounds those that it admits.

    Requests that only read, such as those for metrics, pass without limits.

    Args:
        app: the application behind.
        drain: gives up on stalled clients where a stop has waited long enough.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self._drain = drain
        self.running = 0
        self._uses: defaultdict[str | None, _Use] = defaultdict(_Use)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self.app(scope, receive, send)
            return
        caller = caller_of(scope)
        use = self._uses[caller.name]
        patient = PatientSend(send, caller.limits.client_seconds)
        answer = _Answer(patient, caller, use, self._leave)
        self._drain.sending.add(patient)
        try:
            refusal = self._refusal(scope, caller, use)
            if refusal is not None:
                await refusal(scope, receive, answer.send)
                return
            if caller.rates.requests_per_minute is not None:
                use.requests.add(1, caller.rates.requests_per_minute, _now())
            self.running += 1
            use.running += 1
            answer.running = True
            await self._take_on(scope, receive, answer)
        finally:
            answer.over()
            self._drain.sending.discard(patient)
            patient.close()

    def _leave(self) -> None:
        self.running -= 1

    def _refusal(self, scope: Scope, caller: Caller, use: _Use) -> Response | None:
        rates, limits = caller.rates, caller.limits
        for kind, allowance in _allowances(caller, use).items():
            if allowance.wait > 0:
                count_limit(f"{kind}_per_minute")
                return _rate_response(caller, f"{allowance.limit} {kind} a minute", allowance.wait)
        if rates.concurrent_requests is not None and use.running >= rates.concurrent_requests:
            count_limit("concurrent_requests_per_key")
            return _rate_response(caller, f"{rates.concurrent_requests} requests at the same time", 1)
        if limits.concurrent_requests is not None and self.running >= limits.concurrent_requests:
            count_limit("concurrent_requests")
            return error_response(
                f"the server is busy with {self.running} requests",
                status=503,
                type="ServiceUnavailableError",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        length = Headers(scope=scope).get("content-length", "")
        return _too_large(limits.body_bytes) if length.isdecimal() and int(length) > limits.body_bytes else None

    async def _take_on(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        limits = answer.caller.limits
        started = _now()
        try:
            async with asyncio.timeout(limits.client_seconds):
                body = await RequestBody.of(scope, receive, limits.body_bytes)
        except BodyTooLargeError:
            await _too_large(limits.body_bytes)(scope, receive, answer.send)
            return
        except TimeoutError:
            count_limit("client_seconds")
            message = f"the body did not arrive within {limits.client_seconds:g} s"
            await error_response(message, status=408, type="RequestTimeoutError")(scope, receive, answer.send)
            return
        if body is None:
            return
        token = current_work.set(Work(limits, started, answer.charge, prompt_field(scope["path"])))
        cut_off = None if limits.deadline_seconds is None else started + limits.deadline_seconds + GRACE_SECONDS
        try:
            async with asyncio.timeout_at(cut_off) as timeout:
                await self.app(scope, body.receive, answer.send)
        except StalledClientError:
            count_limit("client_seconds")
            if (observed := current_record.get()) is not None:
                observed.left = True
            abort(scope)
        except Exception as error:
            fault = DeadlineError(limits.deadline_seconds or 0) if timeout.expired() else expected(error)
            told = describe(fault) if fault is not None else _FAILED
            if (observed := current_record.get()) is not None:
                if fault is not None:
                    note_fault(observed, fault)
                observed.failure = observed.failure or "server_error"
                told = observed.error = observed.error or told
            if answer.streaming:
                await answer.send({"type": "http.response.body", "body": openai_event(told, scope["path"])})
            elif fault is not None and not answer.begun:
                response = error_response(told.message, status=told.code, type=told.type, param=told.param)
                await response(scope, receive, answer.send)
            if fault is None:
                raise
        finally:
            current_work.reset(token)


class _Answer:
    """The response on its way to the client: it tells what the rates leave, and is given up if the client stalls."""

    def __init__(self, send: Send, caller: Caller, use: _Use, leave: Callable[[], None]) -> None:
        self.caller = caller
        self.running = False
        self.begun = False
        self.streaming = False
        self._send = send
        self._use = use
        self._leave = leave

    def over(self) -> None:
        """Give the place back, before the last byte goes out: once the client has it, it may ask again."""
        if self.running:
            self.running = False
            self._use.running -= 1
            self._leave()

    def charge(self, tokens: int) -> None:
        if self.caller.rates.tokens_per_minute is not None:
            self._use.tokens.add(tokens, self.caller.rates.tokens_per_minute, _now())

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            self.streaming = headers.get("content-type", "").startswith("text/event-stream")
            if message["status"] == 503:
                headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
            for kind, allowance in _allowances(self.caller, self._use).items():
                headers[f"X-RateLimit-Limit-{kind}"] = str(allowance.limit)
                headers[f"X-RateLimit-Remaining-{kind}"] = str(allowance.remaining)
                headers[f"X-RateLimit-Reset-{kind}"] = f"{allowance.reset:.3f}s"
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last:
            self.over()
        await self._send(message)
        if last:
            self.streaming = False


def _allowances(caller: Caller, use: _Use) -> dict[str, Allowance]:
    """What each of the caller's rates leaves for one more request: by ``requests`` and ``tokens``, where limited."""
    rates = (
        ("requests", use.requests, caller.rates.requests_per_minute),
        ("tokens", use.tokens, caller.rates.tokens_per_minute),
    )
    return {kind: meter.allowance(1, limit, _now()) for kind, meter, limit in rates if limit is not None}


def _now() -> float:
    return asyncio.get_running_loop().time()


def _rate_response(caller: Caller, limit: str, wait: float) -> Response:
    seconds = math.ceil(wait)
    who = "all callers together may use" if caller.name is None else "this key may use"
    return error_response(
        f"{who} {limit}; try again in {seconds} s",
        status=429,
        type="RateLimitError",
        headers={"Retry-After": str(seconds)},
    )


def _too_large(limit: int) -> Response:
    count_limit("body_bytes")
    return error_response(f"the body is larger than {limit} bytes", status=413, type="RequestTooLargeError")
