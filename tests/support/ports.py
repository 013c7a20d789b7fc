"""Ports for the servers of tests."""

from __future__ import annotations

import random
import socket

# Below the range from which systems hand out ports by themselves. A port of that range may be taken again, by an
# engine's own sockets for example, before the server that was given it listens.
PORTS = range(20_000, 30_000)


def free_port() -> int:
    """A port on the loopback interface that nothing listens on."""
    for port in random.Random().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port among 100 of {PORTS}")
