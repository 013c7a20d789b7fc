"""Who may call: every route needs a key once there are keys, but the probes and the paths opened by configuration."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cc_serve.api.errors import error_response
from cc_serve.settings import Caller, LiveSettings

PROBES: Final = frozenset({"/live", "/ready", "/health"})
#: Anthropic's clients send the key in this header.
KEY_HEADER: Final = "x-api-key"

_CALLER: Final = "cc_serve.caller"
_POLICY_VIOLATION: Final = 1008


def caller_of(scope: Scope) -> Caller:
    """Who sent the request, as `KeyMiddleware` found."""
    caller: Caller = scope[_CALLER]
    return caller


class KeyMiddleware:
    """Lets nobody past without a key. Default-deny, so that no spelling of a path gets around it."""

    def __init__(self, app: ASGIApp, settings: LiveSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        settings = self.settings.current
        key = _key_of(scope)
        caller = settings.caller(key)
        if caller is None and _path(scope) in PROBES | settings.open_paths:
            caller = settings.stranger
        if caller is not None:
            await self.app({**scope, _CALLER: caller}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "an API key is needed"})
        else:
            message = "an API key is needed: Authorization: Bearer KEY" if key is None else "the API key is not valid"
            response = error_response(
                message, status=401, type="AuthenticationError", headers={"WWW-Authenticate": "Bearer"}
            )
            await response(scope, receive, send)


def _key_of(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get(KEY_HEADER)


def _path(scope: Scope) -> str:
    """The path that routing goes by: without the proxy's prefix, and as it was sent otherwise."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
