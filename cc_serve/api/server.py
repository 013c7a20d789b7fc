"""The server: one API process with its engine, or several in front of one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from cc_serve.api.arguments import take_keys
from cc_serve.api.front_end import EngineFailedError as EngineFailedError
from cc_serve.api.front_end import ServerFailedError as ServerFailedError
from cc_serve.api.front_end import run_front_end
from cc_serve.api.processes.parent import serve_by_processes
from cc_serve.api.processes.rules import check_limits
from cc_serve.api.share import Share
from cc_serve.api.start import StartError, check_front_end, listen, naming, parse_or_refuse
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings
from cc_serve.engine.config import UnsupportedConfigurationError
from cc_serve.routing.router import Router

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
        flags: vLLM's flags and ours, as they were typed.
        verbose: whether to log more than errors.
        on_ready: called once when requests are answered, with the address, the model's name, its router, and whether
            there is a playground.

    Raises:
        StartError: the flags contradict each other, or do not work with the connection or on this machine.
        ServerFailedError: the engine or an API process died; a supervisor should start the server again.
    """
    with naming(flags):
        _serve(checkpoint, settings, flags, verbose=verbose, on_ready=on_ready)


def _serve(checkpoint: Path, settings: LiveSettings, flags: Sequence[str], *, verbose: bool, on_ready: OnReady) -> None:
    arguments = parse_or_refuse([str(checkpoint), *flags], verbose=verbose)
    count = arguments.api_server_count
    try:
        settings.give(take_keys(arguments))
        settings.require(lambda configuration: check_limits(configuration, count))
    except ConfigurationError as error:
        raise StartError(str(error)) from error
    check_front_end(arguments)
    # vLLM handles signals once it listens. Until then, an exception makes it end the engine's processes.
    signal.signal(signal.SIGTERM, _leave)
    if settings.path is not None:
        # SIGHUP means reload, which has no use before the server is ready, and none in the engine's processes.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    address, sock = listen(arguments)
    router = settings.current.anonymous.router

    def ready() -> None:
        on_ready(address, arguments.served_model_name[0], router, arguments.playground)

    try:
        if count == 1:
            uvloop.run(run_front_end(arguments, settings, sock, ready, Share()))
        else:
            serve_by_processes(arguments, settings, address, sock, ready, verbose=verbose)
    except (UnsupportedConfigurationError, ConfigurationError) as error:
        raise StartError(str(error)) from error


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
