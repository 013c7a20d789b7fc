"""The server: vLLM's own application and engine, completed by this server's endpoints and middleware.

Source of the composition: ``vllm.entrypoints.launchers.api_server.entry`` (``run_server``, ``build_and_serve``).
"""

from __future__ import annotations

import asyncio
import signal
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from cc_serve.api.arguments import take_keys
from cc_serve.api.composition import add_endpoints_and_middleware
from cc_serve.api.connections import Connections, Served
from cc_serve.api.endpoints.admin import reload_or_keep
from cc_serve.api.endpoints.languages import describe_models
from cc_serve.api.exchange import Exchange
from cc_serve.api.faults import quieten_known_faults
from cc_serve.api.http_protocol import BoundedHttpProtocol
from cc_serve.api.middleware.drain import Drain
from cc_serve.api.raw_prompts import RawPrompts
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.start import CheckedEngineArgs, StartError, check_front_end, listen, naming, parse_or_refuse, refusing
from cc_serve.api.telemetry.request_log import request_log
from cc_serve.api.tenants.tenancy import open_tenancy
from cc_serve.api.tool_calls import keep_malformed_calls
from cc_serve.api.vllm import (
    build_app,
    build_async_engine_client_from_engine_args,
    decorate_logs,
    envs,
    get_uvicorn_log_config,
    init_app_state,
    load_chat_template,
    serve_http,
)
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings
from cc_serve.engine.config import UnsupportedConfigurationError
from cc_serve.process.base import ServedBase
from cc_serve.process.phases import API, ENGINE, enter_phase
from cc_serve.routing.router import Router

# How vLLM begins its message when a process of the engine ends before it is ready.
_ENGINE_DIED: Final = "Engine core initialization failed"
# After the engine has stopped, connections that still do not close get this long.
CLOSE_SECONDS: Final = 5


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
        checkpoint: a CC-Tuned checkpoint that has been checked.
        settings: its routing, and keys and limits.
        flags: vLLM's flags.
        verbose: whether to log more than errors.
        on_ready: called once when requests are answered, with the address, the model's name, its router, and whether
            there is a playground.

    Raises:
        StartError: the flags contradict each other, or the connection or this machine cannot follow them.
        EngineFailedError: the engine died; a supervisor should start the server again.
    """
    with naming(flags):
        _serve(checkpoint, settings, flags, verbose=verbose, on_ready=on_ready)


def _serve(checkpoint: Path, settings: LiveSettings, flags: Sequence[str], *, verbose: bool, on_ready: OnReady) -> None:
    arguments = parse_or_refuse([str(checkpoint), *flags], verbose=verbose)
    try:
        settings.give(take_keys(arguments))
    except ConfigurationError as error:
        raise StartError(str(error)) from error
    check_front_end(arguments)
    # vLLM handles signals once it listens. Until then, an exception lets it end the engine's processes.
    signal.signal(signal.SIGTERM, _leave)
    if settings.path is not None:
        # SIGHUP means reload. That is not needed yet, and never in the engine's processes.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        uvloop.run(_run(arguments, settings, on_ready))
    except (UnsupportedConfigurationError, ConfigurationError) as error:
        raise StartError(str(error)) from error


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


async def _run(arguments: Namespace, settings: LiveSettings, on_ready: OnReady) -> None:
    decorate_logs("APIServer", skip_if_decorated=True)
    quieten_known_faults()
    listen_address, sock = listen(arguments)
    router = settings.current.anonymous.router
    drain = Drain()
    checkpoint = Path(arguments.model)
    connections, base = Connections(Served.at(checkpoint, router)), ServedBase(checkpoint)
    try:
        log = request_log(arguments.request_log)
    except OSError as error:
        raise StartError(f"--request-log {arguments.request_log}: {error.strerror}") from error
    try:
        enter_phase(ENGINE)
        async with open_tenancy(settings.current) as tenancy, _engine(arguments) as engine:
            enter_phase(API)
            tasks = await engine.get_supported_tasks()
            with refusing(arguments):
                app = build_app(arguments, tasks, engine.model_config)
                xgrammar = arguments.structured_outputs_config.backend == "xgrammar"
                served: Any = ServedEngine(engine, connections, drain, xgrammar=xgrammar)
                # All endpoints, and the shutdown of `serve_http`, get the engine from here.
                await init_app_state(served, app.state, arguments, tasks)
            describe_models(app.state.openai_serving_models, lambda: settings.current.anonymous.router)
            keep_malformed_calls(app.state.anthropic_serving_messages)
            template = load_chat_template(arguments.chat_template)
            raw_prompts = RawPrompts(engine, template, arguments.default_chat_template_kwargs)
            exchange = Exchange(engine, connections, settings, base)
            add_endpoints_and_middleware(app, settings, drain, log, raw_prompts, tenancy, exchange)
            if settings.path is not None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_or_keep, settings)
            sock.listen()  # a client that connects before uvicorn's loop runs waits, and is not refused
            on_ready(listen_address, arguments.served_model_name[0], router, arguments.playground)
            closed = await serve_http(app, sock=sock, **_http_options(arguments))
        # Only once the engine is gone: responses that depend on it have then ended, well or not.
        await closed
        if not drain.stopping:
            raise EngineFailedError("the engine has died; its own messages are above")
    finally:
        sock.close()


@asynccontextmanager
async def _engine(arguments: Namespace) -> AsyncIterator[Any]:
    """vLLM's client of an engine that has started."""
    async with AsyncExitStack() as stack:
        try:
            flags = CheckedEngineArgs.from_cli_args(arguments)
            engine = await stack.enter_async_context(build_async_engine_client_from_engine_args(flags))
        except RuntimeError as error:
            if str(error).startswith(_ENGINE_DIED):
                raise EngineFailedError("the engine could not start; its own messages are above") from error
            raise
        yield engine


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
