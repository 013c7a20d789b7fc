"""The server: vLLM's own application and engine, with the connection layer around the endpoints.

Source of the composition: ``vllm.entrypoints.launchers.api_server.entry`` (``run_server``, ``build_and_serve``).
"""

from __future__ import annotations

import asyncio
import signal
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from vllm import envs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.launcher import serve_http, setup_server
from vllm.entrypoints.launchers.utils.server_utils import get_uvicorn_log_config
from vllm.utils.system_utils import decorate_logs

from cc_serve.api.arguments import parse_arguments, take_keys
from cc_serve.api.endpoints.admin import admin, reload_or_keep
from cc_serve.api.endpoints.languages import describe_models, languages_endpoint, load_fit
from cc_serve.api.endpoints.layers import layers_endpoint
from cc_serve.api.endpoints.playground import page_files, playground
from cc_serve.api.endpoints.probes import probes
from cc_serve.api.endpoints.route import explain_endpoint
from cc_serve.api.errors import http_error
from cc_serve.api.http_protocol import BoundedHttpProtocol
from cc_serve.api.middleware.authentication import PROBES, KeyMiddleware, caller_of
from cc_serve.api.middleware.begin import BeginningMiddleware
from cc_serve.api.middleware.connection import ConnectionMiddleware
from cc_serve.api.middleware.drain import Drain, DrainingEngine, DrainMiddleware
from cc_serve.api.middleware.limits import LimitsMiddleware
from cc_serve.api.middleware.observe import ObservingMiddleware
from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.api.telemetry.request_log import request_log
from cc_serve.api.telemetry.token_times import observe_engine
from cc_serve.api.work import BoundedEngine
from cc_serve.config.settings import LiveSettings
from cc_serve.engine.config import EngineConnection, UnsupportedConfigurationError
from cc_serve.process.phases import API, ENGINE, enter_phase
from cc_serve.routing.router import Router

# After the engine has stopped, connections that still do not close get this long.
CLOSE_SECONDS: Final = 5


class StartError(RuntimeError):
    """The server cannot start for a reason that the caller can correct."""


class EngineFailedError(RuntimeError):
    """The engine has died, and the server with it."""


OnReady = Callable[[str, str, Router, bool], object]


def serve(
    checkpoint: Path,
    settings: LiveSettings,
    flags: Sequence[str],
    *,
    verbose: bool = False,
    on_ready: OnReady = lambda _address, _model, _router, _playground: None,
) -> None:
    """Serve until SIGTERM or SIGINT; on SIGHUP read the configuration file again.

    Args:
        checkpoint: a validated CC-Tuned checkpoint.
        settings: its routing, and keys and limits.
        flags: vLLM's flags.
        verbose: whether to log what is no error.
        on_ready: called once when requests are answered, with the address, the model's name, its router, and whether
            there is a playground.

    Raises:
        StartError: the flags are at odds with each other, with the connection, or with the machine.
        EngineFailedError: the engine died; whoever supervises the server should start it again.
    """
    try:
        arguments = parse_arguments([str(checkpoint), *flags], verbose=verbose)
        settings.give(take_keys(arguments))
    except (ValueError, TypeError) as error:
        raise StartError(str(error)) from error
    # vLLM handles signals once it listens; until then, leaving by exception lets it end the engine's processes.
    signal.signal(signal.SIGTERM, _leave)
    if settings.path is not None:
        # SIGHUP means reload, which there is no need for yet, nor ever in the engine's processes.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        uvloop.run(_run(arguments, settings, on_ready))
    except UnsupportedConfigurationError as error:
        raise StartError(str(error)) from error


def add_connection_layer(
    app: FastAPI, settings: LiveSettings, drain: Drain, log: Callable[[RequestRecord], object] = lambda _record: None
) -> None:
    """Put keys, draining, limits and routing around the endpoints of vLLM's application, and observation around all.

    Keys and the rest go innermost, behind its CORS, which answers browsers that ask before they send a key, and lets
    them read our errors. Nobody's body is read before they are let in.
    """
    app.include_router(probes(drain))
    app.include_router(admin(settings))
    app.include_router(explain_endpoint(lambda request: caller_of(request.scope)))
    fit = load_fit(Path(app.state.args.model))
    app.include_router(languages_endpoint(lambda request: caller_of(request.scope).router, fit))
    app.include_router(layers_endpoint(lambda request: caller_of(request.scope).router, fit))
    page = page_files() if app.state.args.playground else {}
    app.include_router(playground(page))
    app.user_middleware += [
        Middleware(KeyMiddleware, settings=settings, public=PROBES | page.keys()),
        Middleware(DrainMiddleware, drain=drain),
        Middleware(LimitsMiddleware),
        Middleware(ConnectionMiddleware),
        Middleware(BeginningMiddleware),
    ]
    app.add_exception_handler(HTTPException, http_error)
    # vLLM's application arrives with its middleware already built.
    app.middleware_stack = ObservingMiddleware(app.build_middleware_stack(), log)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


async def _run(arguments: Namespace, settings: LiveSettings, on_ready: OnReady) -> None:
    decorate_logs("APIServer", skip_if_decorated=True)
    try:
        listen_address, sock = setup_server(arguments, reuse_port=False)
    except OSError as error:
        raise StartError(f"cannot listen on port {arguments.port}: {error.strerror}") from error
    router = settings.current.stranger.router
    drain = Drain()
    try:
        log = request_log(arguments.request_log)
    except OSError as error:
        raise StartError(f"--request-log {arguments.request_log}: {error.strerror}") from error
    try:
        enter_phase(ENGINE)
        async with build_async_engine_client(arguments) as engine:
            enter_phase(API)
            observe_engine(engine, router.connections)
            tasks = await engine.get_supported_tasks()
            app = build_app(arguments, tasks, engine.model_config)
            bounded: Any = BoundedEngine(engine)
            await init_app_state(bounded, app.state, arguments, tasks)
            app.state.engine_client = DrainingEngine(bounded, drain)
            connection = EngineConnection.of(engine.vllm_config)
            describe_models(app.state.openai_serving_models, router, connection.sha256)
            add_connection_layer(app, settings, drain, log)
            if settings.path is not None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_or_keep, settings)
            sock.listen()  # whoever comes before uvicorn's loop turns waits, and is not refused
            on_ready(listen_address, arguments.served_model_name[0], router, arguments.playground)
            closed = await serve_http(app, sock=sock, **_http_options(arguments))
        # Only once the engine is gone: responses that depend on it have then ended, well or not.
        await closed
        if not drain.stopping:
            raise EngineFailedError("the engine has died; its own messages are above")
    finally:
        sock.close()


def _http_options(arguments: Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {
        "enable_ssl_refresh": arguments.enable_ssl_refresh,
        "http": BoundedHttpProtocol,
        "host": arguments.host,
        "port": arguments.port,
        "log_level": arguments.uvicorn_log_level,
        "access_log": not arguments.disable_uvicorn_access_log,
        "timeout_keep_alive": envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE,
        "timeout_graceful_shutdown": CLOSE_SECONDS,
        "ssl_keyfile": arguments.ssl_keyfile,
        "ssl_certfile": arguments.ssl_certfile,
        "ssl_ca_certs": arguments.ssl_ca_certs,
        "ssl_cert_reqs": arguments.ssl_cert_reqs,
        "ssl_ciphers": arguments.ssl_ciphers,
        "h11_max_incomplete_event_size": arguments.h11_max_incomplete_event_size,
        "h11_max_header_count": arguments.h11_max_header_count,
    }
    log_config = get_uvicorn_log_config(arguments)
    return options if log_config is None else options | {"log_config": log_config}
