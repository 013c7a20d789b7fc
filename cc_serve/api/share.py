"""What the API processes of one server share. A single process has it for itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from cc_serve.api.peers import Peers
from cc_serve.api.tenants.pool import Pool

# A float holds an integer of this size exactly; vLLM's extra arguments may become floats.
_NUMBER_BYTES: Final = 6


@dataclass(frozen=True)
class Share:
    """One process's part.

    Args:
        count: how many processes there are.
        pool: the places for requests.
        peers: the server's other processes.
        secret: turns the names of keys into numbers, which the engine's log may show.
    """

    count: int = 1
    pool: Pool = field(default_factory=Pool)
    peers: Peers = field(default_factory=Peers)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def number_of(self, name: str) -> int:
        """The key's number. It is the same in all processes, and changes with a restart."""
        return int.from_bytes(blake2b(name.encode(), key=self.secret, digest_size=_NUMBER_BYTES).digest())
