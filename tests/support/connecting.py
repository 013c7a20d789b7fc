"""What the server does to a request's body, without a server around it."""

from __future__ import annotations

from starlette.types import Message

from cc_serve.api.connections import Connections, Served
from cc_serve.api.middleware.connection import RoutedRequest, route_request
from cc_serve.api.request_body import RequestBody
from cc_serve.config.configuration import Limits
from cc_serve.routing.router import Router


def connect_body(received: bytes, router: Router, path: str) -> tuple[bytes, RoutedRequest | None]:
    """The body that the endpoint gets, and what was done to it; None for what is no JSON object."""
    body = RequestBody(received, _gone)
    routed = route_request(body.request, router, path, Limits()) if body.request is not None else None
    return body.content, routed


def connections(*names: str) -> Connections:
    """What a server holds whose checkpoint has these Transform Matrices."""
    return Connections(Served(Router(names, [])))


async def _gone() -> Message:
    return {"type": "http.disconnect"}
