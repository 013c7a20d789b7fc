"""The middleware that gives each generation request its connection, and says so in the response's headers."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_core.language.detection import Rule
from cc_core.names import CONNECTION_HEADER, OFF, OVERRIDE_FIELD
from cc_serve.api.errors import RefusedError, error_response
from cc_serve.api.excess import find_excess
from cc_serve.api.generation_request import TEMPLATE_OPTIONS, GenerationRequest
from cc_serve.api.middleware.authentication import caller_of
from cc_serve.api.middleware.details import with_details
from cc_serve.api.raw_prompts import NO_TOKENIZER, RawPrompts
from cc_serve.api.rendering import RENDERING_PATHS
from cc_serve.api.request_body import RequestBody
from cc_serve.api.shapes import refuse_odd_shapes
from cc_serve.api.telemetry.answer_sample import AnswerSample
from cc_serve.api.telemetry.metrics import count_limit
from cc_serve.api.telemetry.record import UNDETERMINED, current_record
from cc_serve.config.configuration import Limits
from cc_serve.paths import PLAIN_PATHS, generating_path, posted_path
from cc_serve.routing.holdout import Side, side_of
from cc_serve.routing.router import Explanation, Plain, Router, UnknownConnectionError

LANGUAGE_HEADER: Final = b"x-cc-language"
#: Only answers to requests that are on a side of a holdout have this header.
HOLDOUT_HEADER: Final = b"x-cc-holdout"
_CONNECTION_HEADER: Final = CONNECTION_HEADER.lower().encode()


@dataclass(frozen=True)
class Plan(Explanation):
    """A route as it will be taken.

    Args:
        obstacle: why the connection is ``off`` although routing chose one: it would not reach the engine, or the prompt
            does not end as in training; None without an obstacle.
        holdout: the request's side, if a share is held out and routing would connect the request; None otherwise.
    """

    obstacle: str | None = None
    holdout: Side | None = None


@dataclass(frozen=True)
class RoutedRequest:
    """What was done to a request.

    Args:
        route: the route that the request takes.
        overridden: whether the request named its connection or language itself.
        seconds: how long it took to choose the route.
        details: whether the client wants the answer to tell what the connection did.
    """

    route: Plan
    overridden: bool
    seconds: float
    details: bool


class ConnectionMiddleware:
    """Routes requests to connections. Responses pass unchanged but for added headers.

    Requests that only render or tokenize are checked, and handed on unchanged.

    Args:
        app: the application behind.
        raw_prompts: reads the prompts of completions.
    """

    def __init__(self, app: ASGIApp, raw_prompts: RawPrompts = NO_TOKENIZER) -> None:
        self.app = app
        self._raw_prompts = raw_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = generating_path(scope)
        rendered = posted_path(scope, RENDERING_PATHS) if path is None else None
        if path is None and rendered is None:
            await self.app(scope, receive, send)
            return
        body = await RequestBody.of(scope, receive)
        if body is None:
            return
        request = body.request
        if request is None:
            await self.app(scope, body.receive, send)
            return
        caller, record = caller_of(scope), current_record.get()
        request_id = record.request_id if record is not None else ""
        try:
            body.refuse_unsendable()
            if path is not None:
                routed = route_request(request, caller.router, path, caller.limits, self._raw_prompts, request_id)
            elif rendered is not None:
                refuse_odd_shapes(request.fields, rendered)
        except (RefusedError, UnknownConnectionError) as error:
            await refusal(error)(scope, receive, send)
            return
        if rendered is not None:
            await self.app(scope, body.receive, send)
            return
        if record is not None:
            record.route = routed.route
            record.holdout = routed.route.holdout
            record.overridden = routed.overridden
            record.detection_seconds = routed.seconds
            if routed.route.language is not None and random.random() < caller.answer_languages:
                record.sample = AnswerSample()
            if routed.details:
                send = with_details(send, record)
        await self.app(body.described_in(scope), body.receive, _announcing(routed.route, send))


def route_request(
    request: GenerationRequest,
    router: Router,
    path: str,
    limits: Limits,
    raw_prompts: RawPrompts = NO_TOKENIZER,
    request_id: str = "",
) -> RoutedRequest:
    """Route a request to ``path``, and put its connection where vLLM hands it to the engine.

    Raises:
        UnknownConnectionError: the request names a connection that does not exist.
        RefusedError: the request asks for more than ``limits`` allow, or for a connection that it cannot have.
    """
    refuse_excess(request, limits)
    details = request.wants_details(path)
    start = time.perf_counter()
    route = plan(request, router, path, raw_prompts, request_id)
    seconds = time.perf_counter() - start
    overridden = request.overridden
    request.connect(route.connection, request.strength(router.policy.strengths))
    return RoutedRequest(route, overridden, seconds, details)


def refuse_excess(request: GenerationRequest, limits: Limits) -> None:
    """Count a request that asks for more than ``limits`` allow, and raise `RefusedError` for it."""
    if excess := find_excess(request.fields, limits):
        count_limit(excess.limit)
        raise RefusedError(excess.message, excess.field)


def plan(
    request: GenerationRequest,
    router: Router,
    path: str,
    raw_prompts: RawPrompts = NO_TOKENIZER,
    request_id: str = "",
) -> Plan:
    """Decide how a request to ``path`` is served.

    Args:
        request: the request.
        router: the caller's router.
        path: the request's path without the root path.
        raw_prompts: reads the prompts of completions.
        request_id: stands for the user, where the request names none.

    Raises:
        UnknownConnectionError: the request names a connection that does not exist.
        RefusedError: the request cannot have the connection that it asks for, or is malformed.
    """
    request.check(path)
    request.strength(router.policy.strengths)
    route = explain(request, router, raw_prompts)
    obstacle = _obstacle(request, path) if route.connection != OFF else None
    if obstacle and request.overridden:
        raise RefusedError(f'{obstacle} cannot have a connection; send "cc_connection": "off"', OVERRIDE_FIELD)
    if obstacle is None and route.connection != OFF and not request.overridden:
        # Whoever names a connection gets it: they know what they trained.
        obstacle = request.anchor_mover
        if obstacle is None and not raw_prompts.ends_as_ever(options := request.template_options):
            obstacle = TEMPLATE_OPTIONS if TEMPLATE_OPTIONS in request.fields else ", ".join(options)
    connection, rule, plain, side = route.connection, route.rule, route.plain, None
    if obstacle:
        connection, plain = OFF, Plain.OBSTACLE
    if router.policy.holdout and connection != OFF and not request.overridden:
        side = side_of(request.user or request_id, router.policy.holdout)
        if side is Side.PLAIN:
            connection, rule, plain = OFF, Rule.HOLDOUT, Plain.HOLDOUT
    return Plan(route.language, route.confidence, connection, route.text, route.scores, rule, plain, obstacle, side)


def explain(request: GenerationRequest, router: Router, raw_prompts: RawPrompts = NO_TOKENIZER) -> Explanation:
    """The route of a request: one for all its prompts if it has several, and that of its user turns otherwise.

    Raises:
        UnknownConnectionError: the request names a connection that does not exist.
    """
    rendered = request.prompts or [raw_prompts.text(tokens) for tokens in request.token_prompts]
    conversations = [raw_prompts.user_turns(prompt) for prompt in rendered] or [[turn] for turn in request.batch]
    if conversations:
        return router.explain_together(conversations, request.override)
    return router.explain(request.texts, request.override)


def refusal(error: RefusedError | UnknownConnectionError) -> Response:
    """The response to a request that cannot be routed."""
    return error_response(str(error), param=error.param if isinstance(error, RefusedError) else OVERRIDE_FIELD)


def _obstacle(request: GenerationRequest, path: str) -> str | None:
    """Why a connection would not reach the engine, which nobody would notice; None if it would reach the engine."""
    if path in PLAIN_PATHS:
        return path
    # vLLM's beam search makes its own sampling parameters, without the engine arguments.
    return "beam search" if request.beam_search else None


def _announcing(route: Plan, send: Send) -> Send:
    headers = [
        (LANGUAGE_HEADER, (route.language or UNDETERMINED).encode()),
        (_CONNECTION_HEADER, route.connection.encode()),
    ]
    if route.holdout is not None:
        headers.append((HOLDOUT_HEADER, route.holdout.encode()))

    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return announce
