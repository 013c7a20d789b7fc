"""One of several API processes. It serves like a single process, with an engine that its parent has started."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from cc_core.terminal.exit_codes import BAD_INPUT, FAILURE
from cc_serve.api.front_end import ServerFailedError, run_front_end
from cc_serve.api.peers import Peers
from cc_serve.api.processes.rules import check_limits
from cc_serve.api.share import Share
from cc_serve.api.start import StartError, import_parsers, refusing
from cc_serve.api.tenants.pool import Memory, Pool
from cc_serve.api.vllm import configure_logging, set_process_title
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.settings import LiveSettings
from cc_serve.engine.config import UnsupportedConfigurationError
from cc_serve.process.garbage import collect_rarely
from cc_serve.process.logs import set_up_logs
from cc_serve.routing.router import Router

#: What a process reports when it answers requests. Any other report says why it cannot.
READY = ""


@dataclass(frozen=True)
class Orders:
    """What the parent tells each process.

    Args:
        arguments: vLLM's flags and ours.
        path: the configuration file; None without one.
        given: hashes by name of the keys that come from elsewhere than the file.
        verbose: whether to log more than errors.
        directory: the directory for the processes' sockets.
        pool: the memory in which all processes count requests.
        reports: by process, the pipe in which it reports `READY`.
        secret: turns the names of keys into numbers.
    """

    arguments: Namespace
    path: Path | None
    given: Mapping[str, str]
    verbose: bool
    directory: Path
    pool: Memory
    reports: tuple[Connection, ...]
    secret: bytes = field(repr=False)

    @property
    def max_num_queued_reqs(self) -> int | None:
        """vLLM's flag, for which vLLM's process manager asks."""
        asked: int | None = self.arguments.max_num_queued_reqs
        return asked


def work(_address: str, sock: socket.socket, orders: Orders, client: dict[str, Any]) -> None:
    """An API process from its start to its end.

    Args:
        sock: the socket that all processes listen on.
        orders: the parent's orders.
        client: how vLLM's client finds the engine.
    """
    # In a terminal, Ctrl-C reaches all processes. Until this one serves, its parent ends it, by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_logs(orders.verbose)
    collect_rarely()
    if logging := getattr(orders.arguments, "logging_config", None):
        configure_logging(logging)
    set_process_title("APIServer", str(client["client_index"]))
    report = orders.reports[client["client_index"]]
    try:
        with refusing(orders.arguments):
            import_parsers(orders.arguments)
        uvloop.run(_serve(sock, orders, client, report))
    except (StartError, UnsupportedConfigurationError, ConfigurationError) as error:
        report.send(str(error))
        raise SystemExit(BAD_INPUT) from error
    except ServerFailedError as error:
        raise SystemExit(FAILURE) from error


async def _serve(sock: socket.socket, orders: Orders, client: dict[str, Any], report: Connection) -> None:
    index, count = client["client_index"], client["client_count"]
    settings = LiveSettings(orders.path, Router.of(Path(orders.arguments.model)), orders.given)
    settings.require(lambda configuration: check_limits(configuration, count))
    share = Share(
        count,
        Pool(orders.pool, index),
        Peers(orders.directory, index, count),
        orders.secret,
    )
    parent = multiprocessing.parent_process()
    assert parent is not None
    # Without its parent, nobody would stop this process.
    asyncio.get_running_loop().add_reader(parent.sentinel, _stop)
    await run_front_end(orders.arguments, settings, sock, lambda: report.send(READY), share, client)


def _stop() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    asyncio.get_running_loop().remove_reader(parent.sentinel)
    os.kill(os.getpid(), signal.SIGTERM)
