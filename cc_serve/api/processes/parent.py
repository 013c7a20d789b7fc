"""The parent of several API processes: it starts the engine and them, passes signals on, and waits.

Source: ``vllm.entrypoints.cli.serve`` (``run_multi_api_server``).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import secrets
import signal
import socket
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from cc_serve.api.front_end import CLOSE_SECONDS, ENGINE_DIED, EngineFailedError, ServerFailedError
from cc_serve.api.peers import tell
from cc_serve.api.processes.worker import READY, Orders, work
from cc_serve.api.start import CheckedEngineArgs, StartError
from cc_serve.api.tenants.pool import shared_memory
from cc_serve.api.tenants.usage_file import UsageFile
from cc_serve.api.vllm import (
    APIServerProcessManager,
    CoreEngineLaunch,
    Executor,
    UsageContext,
    bind_engine_zmq_listeners,
    launch_core_engines,
    setup_multiprocess_prometheus,
)
from cc_serve.config.settings import LiveSettings
from cc_serve.process.phases import ENGINE, enter_phase

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
# How long a process has to close connections and end, after its time to drain.
_END_SECONDS: Final = CLOSE_SECONDS + 5
# How long a process has after that, before it is killed.
_KILL_SECONDS: Final = 2.0
# How long the engine has to end. It has nothing to do, but workers take a while to free the memory of a GPU.
_ENGINE_SECONDS: Final = 5.0
_LOADING_SECONDS: Final = 24 * 3600


def serve_by_processes(
    arguments: Namespace,
    settings: LiveSettings,
    address: str,
    sock: socket.socket,
    on_ready: Callable[[], object],
    *,
    verbose: bool,
) -> None:
    """Serve by ``--api-server-count`` processes until SIGTERM or SIGINT; on SIGHUP have them read the file again.

    Args:
        arguments: vLLM's flags and ours.
        settings: the settings, which have been checked.
        address: the address of ``sock``.
        sock: the socket that all processes listen on.
        on_ready: called once when all processes answer requests.
        verbose: whether to log more than errors.

    Raises:
        StartError: the flags do not work together.
        ServerFailedError: the engine or a process died.
    """
    count: int = arguments.api_server_count
    _require_no_metrics()
    setup_multiprocess_prometheus()  # type: ignore[no-untyped-call]
    # The processes wait for the engine from its start on, however long it loads; the parent notices if it dies.
    os.environ.setdefault("VLLM_ENGINE_READY_TIMEOUT_S", str(_LOADING_SECONDS))
    usage = settings.current.usage
    if usage.file is not None:  # made here, and not by all processes at the same moment
        UsageFile(usage.file, usage.keep_days).close()
    enter_phase(ENGINE)
    flags = CheckedEngineArgs.from_cli_args(arguments)
    flags._api_process_count, flags._api_process_rank = count, -1
    config = flags.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
    listeners = bind_engine_zmq_listeners(config, count)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    with TemporaryDirectory(prefix="cc-serve-") as folder:
        orders = Orders(
            arguments=arguments,
            path=settings.path,
            given=settings.given,
            verbose=verbose,
            directory=Path(folder),
            pool=shared_memory(context, count),
            reports=tuple(sender for _, sender in pipes),
            secret=secrets.token_bytes(16),
        )
        group = _Group([reader for reader, _ in pipes], config.shutdown_timeout, orders.directory)
        try:
            with launch_core_engines(
                config, Executor.get_class(config), not flags.disable_log_stats, listeners.addresses
            ) as launch:
                group.launch = launch
                coordinator = launch.coordinator
                group.manager = APIServerProcessManager(
                    address,
                    sock,
                    cast(Namespace, orders),  # it is handed on to `work`
                    count,
                    listeners.inputs,
                    listeners.outputs,
                    target_server_fn=work,
                    stats_update_address=None if coordinator is None else coordinator.get_stats_publish_address(),
                    tensor_queue=launch.tensor_queue,
                )
                sock.close()  # only the processes listen, so that clients are refused if none does
                launch.watched_frontend_processes = group.processes
            group.watch_engine()
            group.wait_until_ready()
            group.pass_signals_on(reloads=settings.path is not None)
            on_ready()
            group.wait_until_over()
        except RuntimeError as error:
            group.take_reports()
            if isinstance(error, StartError | ServerFailedError):
                raise
            if str(error).startswith(ENGINE_DIED):
                raise EngineFailedError("the engine could not start; its own messages are above") from error
            if dead := group.ended():
                raise ServerFailedError(f"{dead} before the server was ready; its own messages are above") from error
            raise
        finally:
            group.end()


class _Group:
    """The processes of a server.

    Args:
        reports: by process, the pipe that tells that it is ready, or why it cannot be.
        shutdown_seconds: how long running answers have to finish.
        directory: the directory of the processes' sockets.
    """

    def __init__(self, reports: list[connection.Connection], shutdown_seconds: float, directory: Path) -> None:
        self.manager: Any = None
        self.launch: CoreEngineLaunch | None = None
        self._reports = reports
        self._shutdown_seconds = shutdown_seconds
        self._directory = directory
        self._stopping = False
        self._serving = False
        self._deadline: float | None = None
        self._engine_end: connection.Connection | None = None

    @property
    def processes(self) -> list[BaseProcess]:
        """The API processes."""
        processes: list[BaseProcess] = self.manager.processes if self.manager else []
        return processes

    def wait_until_ready(self) -> None:
        """Wait until all processes answer requests; raises `StartError` or `ServerFailedError` if one ends before."""
        assert self._engine_end is not None
        while self._reports:
            sentinels = [process.sentinel for process in self.processes]
            connection.wait([self._engine_end, *self._reports, *sentinels])
            self.take_reports()
            if self._engine_end.poll():
                raise EngineFailedError("the engine has died; its own messages are above")
            if self._reports and (dead := self.ended()):
                raise ServerFailedError(f"{dead} before the server was ready; its own messages are above")

    def take_reports(self) -> None:
        """Read which processes are ready; raises `StartError` if one of them cannot be."""
        for report in [each for each in self._reports if each.poll()]:
            if (problem := report.recv()) != READY:
                raise StartError(problem)
            self._reports.remove(report)
            self._serving = True

    def pass_signals_on(self, *, reloads: bool) -> None:
        """Have the processes stop, or read the configuration again."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        # The first process makes the others follow. Without a file, SIGHUP ends the server, as it ends any program.
        signal.signal(signal.SIGHUP, lambda *_: self._send(signal.SIGHUP, 1) if reloads else self.stop())

    def stop(self) -> None:
        """Have all processes finish their running answers, and end."""
        if not self._stopping:
            self._stopping = True
            self._send(signal.SIGTERM)

    def wait_until_over(self) -> None:
        """Wait until all processes have ended; raises `ServerFailedError` if no signal had asked for that."""
        assert self._engine_end is not None
        events: list[Any] = [self._engine_end]
        failure: ServerFailedError | None = None
        while alive := self._alive():
            connection.wait([*events, *(process.sentinel for process in alive)], _POLL_SECONDS)
            if events and self._engine_end.poll():
                events.clear()
                if not self._stopping and failure is None:
                    failure = EngineFailedError("the engine has died; its own messages are above")
                for index in range(len(self.processes)):  # they fail what runs, and end by themselves
                    tell(self._directory, index, "engine dead")
            failure = failure or self._process_failure()
            if (self._stopping or failure) and self._left() < 0:
                break
        if failure := failure or self._process_failure():
            raise failure

    def end(self) -> None:
        """End whatever still runs. Processes that serve first finish their running answers, as far as time allows."""
        if self.manager is not None:
            self._send(signal.SIGTERM)
            while (alive := self._alive()) and self._serving and self._left() > 0:
                connection.wait([process.sentinel for process in alive], self._left())
            for index, process in enumerate(self.processes):
                if process.is_alive() and self._serving:
                    logger.error("API process %d did not end in time, and is killed", index)
            self.manager.shutdown(timeout=_KILL_SECONDS)
        if self.launch is not None:
            for each in (self.launch.engine_manager, self.launch.coordinator):
                if each is not None:
                    each.shutdown(timeout=max(_ENGINE_SECONDS, self._left()))

    def watch_engine(self) -> None:
        """Watch from now on whether the engine, or the coordinator of several engines, ends."""
        assert self.launch is not None
        self._engine_end = _end_of(self.launch)

    def _alive(self) -> list[BaseProcess]:
        return [process for process in self.processes if process.is_alive()]

    def _left(self) -> float:
        """Seconds until processes are killed, counted from the first call."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._shutdown_seconds + _END_SECONDS
        return self._deadline - time.monotonic()

    def _process_failure(self) -> ServerFailedError | None:
        """Stop the other processes if one has ended without a signal."""
        if self._stopping or (dead := self.ended()) is None:
            return None
        logger.error("%s: the others finish what they have begun, and the server stops", dead)
        self.stop()
        return ServerFailedError(f"{dead}, and the server with it")

    def ended(self) -> str | None:
        """Which process has ended, and how; None if none has."""
        for index, process in enumerate(self.processes):
            if connection.wait([process.sentinel], 0):
                process.join(_KILL_SECONDS)  # it has closed its files, and will have an exit code in a moment
            if process.exitcode is not None:
                how = f"was killed by signal {-process.exitcode}" if process.exitcode < 0 else "has ended"
                return f"API process {index} {how}"
        return None

    def _send(self, number: int, most: int | None = None) -> None:
        for process in self.processes[:most]:
            with suppress(ProcessLookupError):
                if process.pid is not None and process.is_alive():
                    os.kill(process.pid, number)


def _end_of(launch: CoreEngineLaunch) -> connection.Connection:
    """A connection that can be read when the engine, or the coordinator of several engines, has ended."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    waits = [launch.engine_manager.monitor_engine_liveness] if launch.engine_manager is not None else []
    waits += [launch.coordinator.proc.join] if launch.coordinator is not None else []

    def watch(wait: Callable[[], object]) -> None:
        wait()
        with suppress(OSError):  # the other one has closed it
            writer.close()

    for wait in waits:
        threading.Thread(target=watch, args=(wait,), daemon=True).start()
    return reader


def _require_no_metrics() -> None:
    """Raise `StartError` if prometheus_client would also count the metrics of an earlier server."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder and any(Path(folder).glob("*.db")):
        raise StartError(f"PROMETHEUS_MULTIPROC_DIR: {folder} holds another server's metrics; empty it, or unset it")
