"""The engine's process of a real server, which a test may hold still or slow down, so that an answer still runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.support.server import Server

# Of each 110 ms, the engine has 10.
RUNS_SECONDS, RESTS_SECONDS = 0.01, 0.1


def engines_of(pid: int) -> list[psutil.Process]:
    """The engine's processes below that of a server, which are there before they are ready."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a program that the start has run, and that has ended meanwhile
            if "EngineCore" in child.name() + " ".join(child.cmdline()):
                found.append(child)
    return found


def engine_of(server: Server) -> psutil.Process:
    """The engine's process: the one child whose memory the model is in."""
    return engines_of(server.process.pid)[0]


def clients_of(process: psutil.Process) -> int:
    """How many clients' connections one process of a server holds."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    """One process of a server does nothing."""
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def slowed(server: Server) -> Iterator[None]:
    """The server with an engine that rests most of the time: what a test does takes less than a long answer."""
    engine, over = engine_of(server), threading.Event()

    def slow() -> None:
        with suppress(psutil.NoSuchProcess):
            while not over.wait(RUNS_SECONDS):
                engine.suspend()
                over.wait(RESTS_SECONDS)
                if not over.is_set():
                    engine.resume()
            engine.resume()

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
