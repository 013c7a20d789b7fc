"""What this server adds to vLLM's application: endpoints, middleware, and errors of one shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from fastapi import FastAPI, Request
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from cc_serve.api.connections import Connections, Served
from cc_serve.api.drain import Drain
from cc_serve.api.endpoints.admin import admin
from cc_serve.api.endpoints.connections import connections_endpoint
from cc_serve.api.endpoints.languages import languages_endpoint
from cc_serve.api.endpoints.layers import layers_endpoint
from cc_serve.api.endpoints.playground import page_files, playground
from cc_serve.api.endpoints.probes import probes
from cc_serve.api.endpoints.route import explain_endpoint
from cc_serve.api.endpoints.scale_out import open_render
from cc_serve.api.endpoints.usage import usage_endpoint
from cc_serve.api.errors import http_error
from cc_serve.api.exchange import Exchange
from cc_serve.api.middleware.anthropic import AnthropicMiddleware
from cc_serve.api.middleware.authentication import PROBES, KeyMiddleware, caller_of
from cc_serve.api.middleware.begin import BeginningMiddleware
from cc_serve.api.middleware.connection import ConnectionMiddleware
from cc_serve.api.middleware.drain import DrainMiddleware
from cc_serve.api.middleware.holding import HoldingMiddleware
from cc_serve.api.middleware.limits import LimitsMiddleware
from cc_serve.api.middleware.observe import ObservingMiddleware
from cc_serve.api.raw_prompts import NO_TOKENIZER, RawPrompts
from cc_serve.api.reload import Reload
from cc_serve.api.share import Share
from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.api.tenants.memory import MemoryLimiter
from cc_serve.api.tenants.tenancy import Tenancy
from cc_serve.config.settings import Caller, LiveSettings
from cc_serve.routing.router import Router


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoints and the middleware work with. What is left out has a stand-in.

    Args:
        settings: keys, limits and routing.
        drain: the running responses.
        log: receives the records of generation requests that are over.
        raw_prompts: reads the prompts of completions, for routing.
        tenancy: what keys may use and have used; by default in this process, and not kept.
        exchange: changes the connection; by default, nothing does.
        reload: reads the configuration again; by default, in this process only.
        share: what this process shares with the server's other ones; by default, there are none.
    """

    settings: LiveSettings
    drain: Drain = field(default_factory=Drain)
    log: Callable[[RequestRecord], object] = lambda _record: None
    raw_prompts: RawPrompts = NO_TOKENIZER
    tenancy: Tenancy = field(default_factory=lambda: Tenancy(MemoryLimiter()))
    exchange: Exchange | None = None
    reload: Reload | None = None
    share: Share = field(default_factory=Share)


def add_endpoints_and_middleware(app: FastAPI, parts: Parts) -> None:
    """Complete vLLM's application.

    Our middleware runs inside of vLLM's CORS middleware, which answers the preflight requests of browsers and lets them
    read our errors. Only two middleware surround everything: observation, and the translation of errors for Anthropic's
    clients. No body is read before its sender has been let in.

    Args:
        app: vLLM's application, with the parsed flags as ``app.state.args``.
        parts: what they work with.
    """
    settings, drain, tenancy, share = parts.settings, parts.drain, parts.tenancy, parts.share
    exchange = parts.exchange
    page = page_files() if app.state.args.playground else {}
    if exchange is None:
        served = Served.at(Path(app.state.args.model), settings.current.anonymous.router)
        exchange = Exchange(None, Connections(served), settings, None)
    connections = exchange.connections
    for endpoints in (
        probes(drain),
        admin(parts.reload or Reload(settings, share.peers)),
        connections_endpoint(exchange),
        usage_endpoint(tenancy.ledger),
        explain_endpoint(_caller, parts.raw_prompts),
        languages_endpoint(_router, lambda: connections.served.fit),
        layers_endpoint(_router, lambda: connections.served.fit),
        playground(page),
    ):
        app.include_router(endpoints)
    open_render(app)
    app.user_middleware += [
        Middleware(KeyMiddleware, settings=settings, public=PROBES | page.keys(), routes=app.routes),
        Middleware(HoldingMiddleware, connections=connections),
        Middleware(DrainMiddleware, drain=drain),
        Middleware(LimitsMiddleware, drain=drain, limiter=tenancy.limiter, ledger=tenancy.ledger, share=share),
        Middleware(ConnectionMiddleware, raw_prompts=parts.raw_prompts),
        Middleware(BeginningMiddleware),
    ]
    app.add_exception_handler(HTTPException, http_error)
    _keep_http_metrics(app)
    # vLLM's application arrives with its middleware already built.
    app.middleware_stack = ObservingMiddleware(AnthropicMiddleware(app.build_middleware_stack()), parts.log)


def _keep_http_metrics(app: FastAPI) -> None:
    """Let the rebuilt middleware count in the metrics of the earlier one.

    prometheus_client refuses a second metric of the same name, and `PrometheusInstrumentatorMiddleware` counts nothing.
    """
    layer: object = app.middleware_stack
    while layer is not None and not isinstance(layer, PrometheusInstrumentatorMiddleware):
        layer = getattr(layer, "app", None)
    for middleware in app.user_middleware:
        if layer is not None and cast(object, middleware.cls) is PrometheusInstrumentatorMiddleware:
            middleware.kwargs["instrumentations"] = layer.instrumentations


def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


def _router(request: Request) -> Router:
    return caller_of(request.scope).router
