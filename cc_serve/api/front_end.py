"""One API process: vLLM's own application and engine client, completed by this server's endpoints and middleware.

Source of the composition: ``vllm.entrypoints.launchers.api_server.entry`` (``run_server_worker``, ``build_and_serve``).
"""

from __future__ import annotations

import asyncio
import signal
import socket
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from cc_serve.api.composition import Parts, add_endpoints_and_middleware
from cc_serve.api.connections import Connections, Served
from cc_serve.api.drain import Drain
from cc_serve.api.endpoints.languages import describe_models
from cc_serve.api.exchange import Exchange
from cc_serve.api.faults import quieten_known_faults
from cc_serve.api.http_protocol import BoundedHttpProtocol
from cc_serve.api.raw_prompts import RawPrompts
from cc_serve.api.reload import Reload
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.share import Share
from cc_serve.api.start import CheckedEngineArgs, StartError, refusing
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
from cc_serve.config.settings import LiveSettings
from cc_serve.process.base import ServedBase
from cc_serve.process.phases import API, ENGINE, enter_phase

# The beginning of vLLM's message when a process of the engine ends before it is ready.
ENGINE_DIED: Final = "Engine core initialization failed"
# How long connections have to close after the engine has stopped.
CLOSE_SECONDS: Final = 5


class ServerFailedError(RuntimeError):
    """The server cannot go on; a supervisor should start it again."""


class EngineFailedError(ServerFailedError):
    """The engine has died, and the server with it."""


async def run_front_end(
    arguments: Namespace,
    settings: LiveSettings,
    sock: socket.socket,
    on_ready: Callable[[], object],
    share: Share,
    client: dict[str, Any] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; on SIGHUP read the configuration file again.

    Args:
        arguments: vLLM's flags and ours.
        settings: routing, keys and limits.
        sock: where to listen; it is closed in the end.
        on_ready: called once when requests are answered.
        share: what this process shares with the server's other ones.
        client: how vLLM's client finds an engine that another process has started; None starts an engine.

    Raises:
        StartError: the flags do not work together, or the request log cannot be opened.
        EngineFailedError: the engine could not start, or died.
    """
    decorate_logs("APIServer", skip_if_decorated=True)
    quieten_known_faults()
    client = dict(client or {})
    loads = client.pop("api_server_loads", None)
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
        async with open_tenancy(settings.current, share.peers) as tenancy:
            async with _engine(arguments, client) as engine:
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
                changes = asyncio.Lock()
                reload = Reload(settings, share.peers, changes)
                parts = Parts(
                    settings=settings,
                    drain=drain,
                    log=log,
                    raw_prompts=raw_prompts,
                    tenancy=tenancy,
                    exchange=Exchange(engine, connections, settings, base, share.peers, changes),
                    reload=reload,
                    share=share,
                )
                add_endpoints_and_middleware(app, parts)
                share.peers.offer("engine dead", served.lose)
                if settings.path is not None:
                    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.soon)
                async with share.peers.listening():
                    sock.listen()  # so that a client that connects before uvicorn's loop runs waits
                    on_ready()
                    peer_loads = None if loads is None else (loads, client["client_index"])
                    closed = await serve_http(app, sock=sock, peer_loads=peer_loads, **_http_options(arguments))
            # After the engine has stopped, when all responses have ended; but while usage can still be written.
            await closed
        if not drain.stopping:
            raise EngineFailedError("the engine has died; its own messages are above")
    finally:
        sock.close()


@asynccontextmanager
async def _engine(arguments: Namespace, client: dict[str, Any]) -> AsyncIterator[Any]:
    """vLLM's client of an engine that has started."""
    async with AsyncExitStack() as stack:
        try:
            flags = CheckedEngineArgs.from_cli_args(arguments)
            if client:
                flags._api_process_count = client["client_count"]
                flags._api_process_rank = client["client_index"]
            engine = await stack.enter_async_context(
                build_async_engine_client_from_engine_args(flags, client_config=client or None)
            )
        except RuntimeError as error:
            if str(error).startswith(ENGINE_DIED):
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
