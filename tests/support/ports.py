"""Ports for the servers of tests."""

from __future__ import annotations

import random
import socket

# Below the range from which systems hand out ports by themselves: one of those may be taken again, by an
# engine's own sockets say, before the server that was told it gets to listen.
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
