"""Who may call. Once there are keys, every request needs one, except those that read the probes or the playground's
page, and those to the paths that the configuration opens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from cc_serve.api.errors import error_response
from cc_serve.api.headers import header
from cc_serve.config.settings import Caller, LiveSettings
from cc_serve.paths import READING_METHODS, route_path

PROBES: Final = frozenset({"/live", "/ready", "/health"})
#: The calls that change the engine for all callers: ours, and those of vLLM that flags or development mode switch on.
OPERATOR_PATHS: Final = frozenset(
    {
        "/admin/connections",
        *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/scale_elastic_ep", "/fault_tolerance/apply"),
        *("/start_profile", "/stop_profile", "/sleep", "/wake_up", "/pause", "/resume", "/collective_rpc"),
        *("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/release_kv_cache_memory"),
        *("/abort_requests", "/init_weight_transfer_engine", "/shutdown_weight_transfer_engine", "/update_weights"),
        *("/start_weight_update", "/start_draft_weight_update", "/finish_weight_update", "/update_weight_version"),
        *("/weight_checker", "/server_info"),
    }
)
#: Anthropic's clients send the key in this header.
KEY_HEADER: Final = b"x-api-key"

_CALLER: Final = "cc_serve.caller"
_POLICY_VIOLATION: Final = 1008


def caller_of(scope: Scope) -> Caller:
    """Who sent the request, as `KeyMiddleware` has found."""
    caller: Caller = scope[_CALLER]
    return caller


def operates(scope: Scope) -> bool:
    """Whether this is an operator's call. If there are keys, `KeyMiddleware` lets only admins make such calls."""
    path = route_path(scope)
    return path in OPERATOR_PATHS or (path.startswith("/admin/") and caller_of(scope).admin)


class KeyMiddleware:
    """Lets nobody pass without a key. It denies by default, so that no spelling of a path gets around it.

    Args:
        app: the application behind.
        settings: the keys, and the further paths that need none.
        public: exact paths that anybody may read.
        routes: those of the application. A request without a key has to read, or be one that a route takes.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: LiveSettings,
        public: frozenset[str] = PROBES,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        self.app = app
        self.settings = settings
        self.public = public
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        settings = self.settings.current
        key, path = _key_of(scope), route_path(scope)
        caller = settings.caller(key)
        if caller is None and (
            (path in self.public and _reads(scope))
            or (path in settings.open_paths and (_reads(scope) or _takes(self.routes, scope)))
        ):
            caller = settings.anonymous
        if caller is not None and settings.guarded and path in OPERATOR_PATHS and not caller.admin:
            await admin_refusal()(scope, receive, send)
        elif caller is not None:
            await self.app({**scope, _CALLER: caller}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "an API key is needed"})
        else:
            message = "an API key is needed: Authorization: Bearer KEY" if key is None else "the API key is not valid"
            response = error_response(
                message, status=401, type="AuthenticationError", headers={"WWW-Authenticate": "Bearer"}
            )
            await response(scope, receive, send)


def admin_refusal() -> Response:
    """The response to an operator's call without an admin's key."""
    return error_response("this needs a key marked admin", status=403, type="PermissionDeniedError")


def _reads(scope: Scope) -> bool:
    """Whether the request only reads. Any other takes a place while its body arrives, even where no route takes one."""
    return scope.get("method") in READING_METHODS


def _takes(routes: Iterable[BaseRoute], scope: Scope) -> bool:
    """Whether a route takes the request. Mounted applications, such as vLLM's ``/metrics``, only show something."""
    return any(not isinstance(route, Mount) and route.matches(scope)[0] is Match.FULL for route in routes)


def _key_of(scope: Scope) -> str | None:
    scheme, _, key = (header(scope, b"authorization") or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else header(scope, KEY_HEADER)
