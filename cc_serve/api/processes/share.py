"""What the API processes of one server have in common. A single process has it for itself."""

from __future__ import annotations

import secrets
from collections.abc import MutableSequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from cc_serve.api.processes.peers import Peers

# As many as a float holds exactly: vLLM's extra arguments may become floats.
_NUMBER_BYTES: Final = 6


class Running:
    """Counts the requests of all callers that run, in memory that the processes may share.

    Each process writes its own count alone, so there is no lock that one which is killed could keep. Processes that
    count at the same moment may let in one request each too many.

    Args:
        counts: by process, all 0 at the start.
        index: of this process.
    """

    def __init__(self, counts: MutableSequence[int], index: int) -> None:
        self._counts = counts
        self._index = index

    @property
    def value(self) -> int:
        """Their number."""
        return sum(self._counts)

    def enter(self, most: int | None) -> bool:
        """Count one more, unless there are ``most`` already; whether it was counted."""
        if most is not None and self.value >= most:
            return False
        self._counts[self._index] += 1
        return True

    def leave(self) -> None:
        """One is over."""
        self._counts[self._index] -= 1


@dataclass(frozen=True)
class Share:
    """One process's part.

    Args:
        count: of processes.
        running: the requests of all of them.
        peers: the others.
        secret: makes numbers of keys' names, which the engine's log may show.
    """

    count: int = 1
    running: Running = field(default_factory=lambda: Running([0], 0))
    peers: Peers = field(default_factory=Peers)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def number_of(self, name: str) -> int:
        """The key's number: the same in all processes, and another one after a restart."""
        return int.from_bytes(blake2b(name.encode(), key=self.secret, digest_size=_NUMBER_BYTES).digest())
