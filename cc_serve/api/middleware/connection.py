"""The middleware that gives each generation request its connection, and says so in the response's headers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_core.names import AUTO, CONNECTION_KEY, OFF
from cc_serve.api.errors import error_response
from cc_serve.api.middleware.authentication import caller_of
from cc_serve.api.middleware.body import read_body, replay, with_length
from cc_serve.api.middleware.details import DETAILED_PATHS, DETAILS_FIELD, with_details
from cc_serve.api.middleware.fields import excess
from cc_serve.api.telemetry.record import UNDETERMINED, current
from cc_serve.config.configuration import Limits
from cc_serve.routing.router import Explanation, Route, Router, UnknownConnectionError

# The endpoints whose ``vllm_xargs`` reach the engine, and the others that generate text from a prompt.
CONNECTED_PATHS: Final = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/invocations"}
)
BATCH_PATH: Final = "/v1/chat/completions/batch"
PLAIN_PATHS: Final = frozenset({BATCH_PATH, "/cohere/v2/chat", "/generative_scoring", "/v1/systemone"})
FIELD: Final = CONNECTION_KEY  # clients know it by the name that the engine does
ENGINE_ARGUMENTS: Final = "vllm_xargs"
#: What vLLM's scheduler reads from the same place.
ENGINE_STATE: Final = ("kv_transfer_params", "ec_transfer_params", "kv_cache_report_mode")
LANGUAGE_HEADER: Final = "X-CC-Language"
CONNECTION_HEADER: Final = "X-CC-Connection"
_LIMITS: Final = Limits()


class RefusedError(ValueError):
    """The request asks for something impossible; ``param`` is the field to correct."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Plan(Explanation):
    """A route as it will be taken.

    Args:
        obstacle: what keeps the connection from reaching the engine, which makes it ``off``; None if nothing does.
    """

    obstacle: str | None = None


@dataclass(frozen=True)
class ConnectedBody:
    """A request body as the engine shall see it, and the route that it stands for.

    Args:
        body: with the connection, where there is one, among the engine's arguments.
        route: of the request.
        overridden: whether the request named its connection or language itself.
        seconds: that choosing the route took.
        details: whether the answer shall tell what the connection did.
    """

    body: bytes
    route: Route
    overridden: bool
    seconds: float
    details: bool = False


class ConnectionMiddleware:
    """Routes requests to connections. The response passes through untouched but for two headers.

    Args:
        app: the application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = generating_path(scope)
        if path is None:
            await self.app(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        try:
            caller = caller_of(scope)
            connected = connect_body(body, caller.router, path, caller.limits)
        except (RefusedError, UnknownConnectionError) as error:
            response = error_response(str(error), param=getattr(error, "param", FIELD))
            await response(scope, receive, send)
            return
        if connected is None:
            await self.app(scope, replay(body, receive), send)
            return
        if (record := current.get()) is not None:
            record.route = connected.route
            record.overridden = connected.overridden
            record.detection_seconds = connected.seconds
            if connected.details:
                send = with_details(send, record)
        scope = with_length(scope, connected.body)
        await self.app(scope, replay(connected.body, receive), _announcing(connected.route, send))


def connect_body(body: bytes, router: Router, path: str, limits: Limits = _LIMITS) -> ConnectedBody | None:
    """Route a request and put its connection where vLLM hands it to the engine.

    Returns:
        None for what is no JSON object: refusing it is the endpoint's work.

    Raises:
        UnknownConnectionError: the request names a connection that does not exist.
        RefusedError: the request cannot have the connection that it asks for.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    if found := excess(request, limits):
        raise RefusedError(*found)
    arguments = request.get(ENGINE_ARGUMENTS)
    changed = FIELD in request or DETAILS_FIELD in request
    details = request.pop(DETAILS_FIELD, False)
    if not isinstance(details, bool):
        raise RefusedError(f"{DETAILS_FIELD} must be true or false", DETAILS_FIELD)
    if details and path not in DETAILED_PATHS:
        raise RefusedError(f"{DETAILS_FIELD} is answered by {' and '.join(sorted(DETAILED_PATHS))}", DETAILS_FIELD)
    start = time.perf_counter()
    route = route_request(request, router, path)
    seconds = time.perf_counter() - start
    override = request.pop(FIELD, None)
    if route.connection != OFF and (arguments is None or isinstance(arguments, dict)):
        request[ENGINE_ARGUMENTS] = {**(arguments or {}), FIELD: route.connection}
        changed = True
    body = json.dumps(request).encode() if changed else body
    return ConnectedBody(body, route, _is_override(override), seconds, details)


def route_request(request: Mapping[str, Any], router: Router, path: str) -> Plan:
    """What is to happen to a request's body that is sent to ``path``.

    Raises:
        UnknownConnectionError: the request names a connection that does not exist.
        RefusedError: the request cannot have the connection that it asks for, or is malformed.
    """
    arguments, override = request.get(ENGINE_ARGUMENTS), request.get(FIELD)
    if isinstance(arguments, dict):
        _refuse_engine_state(arguments)
    _refuse_odd_shapes(request, path)
    route = router.explain_request(request, AUTO if override is None else override)
    obstacle = _obstacle(request, path) if route.connection != OFF else None
    if obstacle and _is_override(override):
        raise RefusedError(f'{obstacle} cannot have a connection; send "cc_connection": "off"', FIELD)
    connection = OFF if obstacle else route.connection
    return Plan(route.language, route.confidence, connection, route.text, route.scores, route.rule, obstacle)


def _is_override(value: object) -> bool:
    return value not in (None, AUTO)


def _refuse_engine_state(arguments: Mapping[str, Any]) -> None:
    """Raises RefusedError for arguments that the engine takes for its own, unvalidated."""
    if FIELD in arguments:
        raise RefusedError(
            f"{FIELD!r} belongs at the top level of the body, not into {ENGINE_ARGUMENTS!r}", ENGINE_ARGUMENTS
        )
    for name in ENGINE_STATE:
        if name in arguments:
            raise RefusedError(f"{name!r} cannot be set through {ENGINE_ARGUMENTS!r}; remove it", ENGINE_ARGUMENTS)


def _refuse_odd_shapes(request: Mapping[str, Any], path: str) -> None:
    """Raises RefusedError where vLLM would answer with an error of Python's that names no field, or with status 500."""
    form, messages = request.get("structured_outputs"), request.get("messages")
    if form is not None and not isinstance(form, dict):
        raise RefusedError("'structured_outputs' must be an object", "structured_outputs")
    if messages is None or path == BATCH_PATH:  # a batch has lists of lists
        return
    if not isinstance(messages, list):
        raise RefusedError("'messages' must be a list of objects", "messages")
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            raise RefusedError(f"'messages.{position}' must be an object with a role and content", "messages")


def generating_path(scope: Scope) -> str | None:
    """The path of a generation request, without the root path; None where a request generates nothing."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path = get_route_path(scope)
    return path if path in CONNECTED_PATHS | PLAIN_PATHS else None


def _obstacle(request: Mapping[str, Any], path: str) -> str | None:
    """What would keep the connection from reaching the engine: the answer would silently be the plain model's."""
    if path in PLAIN_PATHS:
        return path
    # vLLM's beam search makes its own sampling parameters, without the engine arguments.
    return "beam search" if request.get("use_beam_search") not in (None, False) else None


def _announcing(route: Route, send: Send) -> Send:
    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers[LANGUAGE_HEADER] = route.language or UNDETERMINED
            headers[CONNECTION_HEADER] = route.connection
        await send(message)

    return announce
