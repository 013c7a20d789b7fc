"""What the API processes of one server have in common. A single process has it for itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from cc_serve.api.processes.peers import Peers
from cc_serve.api.tenants.pool import Pool

# As many as a float holds exactly: vLLM's extra arguments may become floats.
_NUMBER_BYTES: Final = 6


@dataclass(frozen=True)
class Share:
    """One process's part.

    Args:
        count: of processes.
        pool: of places for requests.
        peers: the others.
        secret: makes numbers of keys' names, which the engine's log may show.
    """

    count: int = 1
    pool: Pool = field(default_factory=Pool)
    peers: Peers = field(default_factory=Peers)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def number_of(self, name: str) -> int:
        """The key's number: the same in all processes, and another one after a restart."""
        return int.from_bytes(blake2b(name.encode(), key=self.secret, digest_size=_NUMBER_BYTES).digest())
