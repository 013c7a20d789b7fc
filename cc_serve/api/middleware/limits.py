"""The middleware that admits requests within the limits: rates, concurrency, size, and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_core.terminal.text import counted
from cc_serve.api.drain import RETRY_AFTER_SECONDS, Drain
from cc_serve.api.errors import error_response, openai_event, unavailable
from cc_serve.api.faults import expected, tell
from cc_serve.api.headers import header
from cc_serve.api.http_protocol import abort
from cc_serve.api.middleware.authentication import caller_of, operates
from cc_serve.api.request_body import BodyTooLargeError, RequestBody
from cc_serve.api.shapes import prompt_field
from cc_serve.api.share import Share
from cc_serve.api.stall import PatientSend, StalledClientError
from cc_serve.api.telemetry.metrics import UNROUTED, count_limit
from cc_serve.api.telemetry.record import current_record
from cc_serve.api.tenants.limiter import Limiter, Place, Refusal, now
from cc_serve.api.tenants.memory import MemoryLimiter
from cc_serve.api.tenants.pool import Member
from cc_serve.api.tenants.usage import Amounts, Ledger
from cc_serve.api.work import Work, current_work
from cc_serve.config.settings import Caller
from cc_serve.paths import READING_METHODS
from cc_serve.payloads import TENANT, WEIGHT

#: After the deadline, how long an answer may take to say so before it is cut off.
GRACE_SECONDS: Final = 5.0


class LimitsMiddleware:
    """Admits as many requests as each caller's limits allow, and limits those that it admits.

    Requests that only read, such as those for metrics, have no limits. Operators' calls have only the limits on the
    body and on slow clients.

    Args:
        app: the application behind.
        drain: gives up on stalled clients when a stop has waited long enough.
        limiter: counts what each key uses; by default, in this process.
        ledger: keeps what each key has used; None keeps nothing.
        share: counts the requests of all processes of the server; by default, of this one only.
    """

    def __init__(
        self,
        app: ASGIApp,
        drain: Drain,
        limiter: Limiter | None = None,
        ledger: Ledger | None = None,
        share: Share | None = None,
    ) -> None:
        self.app = app
        self._drain = drain
        self._share = share or Share()
        self._limiter = limiter or MemoryLimiter()
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self.app(scope, receive, send)
            return
        caller, operating = caller_of(scope), operates(scope)
        if operating:  # some of these calls take long, and operators need them even if the server is full
            caller = replace(caller, limits=caller.limits.model_copy(update={"deadline_seconds": None}))
        large = _exceeds(header(scope, b"content-length") or "", caller.limits.body_bytes)
        patient = PatientSend(send, caller.limits.client_seconds)
        answer = _Answer(patient, caller)
        self._drain.sending.add(patient)
        # Before the limiter is asked, which may take a while. Between this and the `try`, nothing may raise an error.
        full = None if operating else self._enter(answer)
        try:
            refusal = None
            if not operating:
                answer.place = await self._limiter.admit(
                    caller.name, caller.key_limits, take=full is None and not large
                )
                refusal = answer.place.refusal or full
            if refusal is not None:
                count_limit(refusal.limit)
                await _refused(refusal)(scope, receive, answer.send)
            elif large:
                await _too_large(caller.limits.body_bytes)(scope, receive, answer.send)
            else:
                await self._take_on(scope, receive, answer)
        finally:
            answer.close()
            self._drain.sending.discard(patient)
            patient.close()

    @property
    def running(self) -> int:
        """How many requests run."""
        return self._share.pool.running

    def _enter(self, answer: _Answer) -> Refusal | None:
        """Take a place for the answer. Returns None, or why there is no place."""
        caller, pool, member = answer.caller, self._share.pool, None
        if caller.among_others:
            number = self._share.number_of(caller.name or "")
            member = Member(number, caller.weight, "this key's" if caller.name else "without a key")
        full = pool.enter(caller.limits.concurrent_requests, member)
        if full is None:
            answer.running = partial(pool.leave, member)
        return full

    def _tenant(self, caller: Caller) -> dict[str, float]:
        """The engine's arguments that let keys take turns: a number, not the key's name, since they may be logged."""
        if caller.name is None:
            return {}
        return {TENANT: self._share.number_of(caller.name), WEIGHT: caller.weight}

    def _note(self, caller: Caller, work: Work) -> None:
        """Record the usage of a request, if the engine got one of its prompts."""
        if self._ledger is None or not work.prompts:
            return
        record = current_record.get()
        route = record.route if record else None
        language = (record.language if record else None) or UNROUTED
        amounts = Amounts(1, work.prompt_tokens, work.answer_tokens)
        self._ledger.add(caller.name, language, route.connection if route else UNROUTED, amounts)

    async def _take_on(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        limits = answer.caller.limits
        started = now()
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
        caller, field = answer.caller, prompt_field(scope["path"])
        charge = (lambda _: None) if answer.place is None else answer.place.charge
        work = Work(limits, started, charge, field, self._tenant(caller), caller.router.sha256)
        token = current_work.set(work)
        try:
            await work.in_time(self.app(scope, body.receive, answer.send), GRACE_SECONDS)
        except StalledClientError:
            count_limit("client_seconds")
            if (observed := current_record.get()) is not None:
                observed.left = True
            abort(scope)
        except Exception as error:
            fault = expected(error)
            told = tell(fault)
            if answer.streaming:
                await answer.send({"type": "http.response.body", "body": openai_event(told, scope["path"])})
            elif fault is not None and not answer.begun:
                response = error_response(told.message, status=told.code, type=told.type, param=told.param)
                await response(scope, receive, answer.send)
            if fault is None:
                raise
        finally:
            current_work.reset(token)
            self._note(answer.caller, work)


class _Answer:
    """The response on its way to the client. Its headers tell what the rates leave; it holds the request's places."""

    def __init__(self, send: PatientSend, caller: Caller) -> None:
        self.caller = caller
        self.place: Place | None = None
        self.running: Callable[[], None] | None = None
        self.begun = False
        self.streaming = False
        self._send = send

    def close(self) -> None:
        """Give the answer's places back: nothing more will be sent."""
        self._over()
        if self.place is not None:
            self.place.abandon()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.streaming = (header(message, b"content-type") or "").startswith("text/event-stream")
            headers = MutableHeaders(scope=message)
            if message["status"] == 503:
                headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
            for kind, allowance in self.place.allowances().items() if self.place else ():
                headers[f"X-RateLimit-Limit-{kind}"] = str(allowance.limit)
                headers[f"X-RateLimit-Remaining-{kind}"] = str(allowance.remaining)
                headers[f"X-RateLimit-Reset-{kind}"] = f"{allowance.reset:.3f}s"
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last:
            # Before the last byte goes out, since the client may send its next request when it has that byte.
            self._over()
            if self.place is not None:
                await self.place.leave()
        await self._send(message)
        if last:
            self.streaming = False

    def _over(self) -> None:
        if self.running is not None:
            leave, self.running = self.running, None
            leave()


def _refused(refusal: Refusal) -> Response:
    if refusal.status == 503:
        return unavailable(refusal.message, refusal.seconds)
    headers = {"Retry-After": str(refusal.seconds)}
    return error_response(refusal.message, status=refusal.status, type="RateLimitError", headers=headers)


def _exceeds(length: str, most: int) -> bool:
    """Whether a Content-Length is above ``most``. Python would raise an error for a number of thousands of digits."""
    digits = length.lstrip("0")
    return length.isdecimal() and (len(digits) > len(str(most)) or int(digits or "0") > most)


def _too_large(limit: int) -> Response:
    count_limit("body_bytes")
    return error_response(f"the body is larger than {counted(limit, 'byte')}", status=413, type="RequestTooLargeError")
