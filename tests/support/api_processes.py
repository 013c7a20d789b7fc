"""The API processes of one server, each of which a test can ask.

Which process takes a connection is chance: on a busy machine one may take all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.multiprocess import MultiProcessCollector

from tests.support.engines import suspended
from tests.support.server import Server


def processes_of(server: Server) -> list[psutil.Process]:
    """The API processes, by their numbers."""
    children = psutil.Process(server.process.pid).children()
    return sorted((child for child in children if "APIServer" in " ".join(child.cmdline())), key=lambda c: c.cmdline())


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


@contextmanager
def client_of(server: Server, process: psutil.Process | None = None) -> Iterator[httpx.Client]:
    """A client with one connection, which ``process`` has taken; without one, whichever process takes it."""
    with httpx.Client(base_url=server.address, timeout=60, limits=httpx.Limits(max_connections=1)) as client:
        if process is not None:
            with only(server, process):
                client.get("/metrics").raise_for_status()
        yield client


@contextmanager
def only(server: Server, process: psutil.Process) -> Iterator[None]:
    """While ``process`` alone takes connections."""
    with ExitStack() as stack:
        for each in processes_of(server):
            if each != process:
                stack.enter_context(suspended(each))
        yield


def by_each(server: Server, call: Callable[[httpx.Client], Any]) -> list[Any]:
    """What each process answers, one after the other."""
    answers = []
    for process in processes_of(server):
        with client_of(server, process) as client:
            answers.append(call(client))
    return answers


def half_each(server: Server, count: int, call: Callable[[int], Any]) -> list[Any]:
    """``count`` calls, of which each of the two processes takes half at once."""
    answers = []
    for begin, process in zip((0, count // 2), processes_of(server), strict=True):
        with only(server, process):
            answers += at_once(count // 2, lambda i, begin=begin: call(begin + i))  # type: ignore[misc]
    return answers


def requests_of(server: Server, process: psutil.Process) -> float:
    """How many generation requests one process has counted, by its own file."""
    folder = Path(psutil.Process(server.process.pid).children()[0].environ()["PROMETHEUS_MULTIPROC_DIR"])
    merged = MultiProcessCollector.merge([str(folder / f"counter_{process.pid}.db")])  # type: ignore[no-untyped-call]
    return float(
        sum(sample.value for metric in merged for sample in metric.samples if sample.name == "cc:requests_total")
    )
