"""Ports for the servers of tests."""

from __future__ import annotations

import os
import random
import socket

# Below the range from which systems hand out ports by themselves. A port of that range may be taken again, by an
# engine's own sockets for example, before the server that was given it listens.
PORTS = range(20_000, 30_000)
# Each of the processes that run tests side by side has ports of its own: what one has chosen and not yet bound is free.
WORKERS = 16

_given: set[int] = set()


def free_port() -> int:
    """A port on the loopback interface that nothing listens on, and that has not been given to anybody before."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    for port in random.Random().sample(PORTS[worker::WORKERS], 100):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise OSError(f"no free port among 100 of {PORTS}")
