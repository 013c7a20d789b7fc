"""Which connection new requests begin with, and which the running ones began with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cc_serve.api.fit import Fit, load_fit
from cc_serve.api.telemetry.metrics import show_connection
from cc_serve.routing.router import Router


@dataclass(frozen=True)
class Served:
    """A connection.

    Args:
        router: the connection's router, whatever its policy.
        directory: where the connection was loaded from; None without a checkpoint.
        fit: how well its matrices were fitted, by language.
    """

    router: Router
    directory: Path | None = None
    fit: dict[str, Fit] = field(default_factory=dict)

    @classmethod
    def at(cls, directory: Path, router: Router) -> Served:
        """The connection in ``directory``, whose router has been made."""
        return cls(router, directory, load_fit(directory))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the connection's file; empty without a checkpoint."""
        return self.router.sha256 or ""


class Connections:
    """Counts requests by the connection that they began with. Only the event loop's thread uses it.

    A request keeps its connection from the headers to the last byte of its answer, so that its route, its headers and
    its matrices belong together. An earlier connection is needed until the last of its requests has ended.

    Args:
        served: the connection that new requests begin with.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self._known = {served.sha256: served}
        self._holds: defaultdict[str, int] = defaultdict(int)
        self._answers: Counter[str] = Counter()
        #: Called with the digest of an earlier connection when the last of its requests has ended.
        self.on_idle: Callable[[str], object] = lambda _sha256: None
        if served.sha256:
            show_connection(served.sha256)

    @contextmanager
    def begun_with(self, sha256: str) -> Iterator[None]:
        """Hold a connection while a request that began with it runs."""
        self._holds[sha256] += 1
        try:
            yield
        finally:
            self._holds[sha256] -= 1
            if not self._holds[sha256]:
                del self._holds[sha256]
                if sha256 != self.served.sha256:
                    self.on_idle(sha256)

    @contextmanager
    def answered_with(self, sha256: str) -> Iterator[None]:
        """Hold a connection while the engine answers with it."""
        self._answers[sha256] += 1
        try:
            with self.begun_with(sha256):
                yield
        finally:
            self._answers[sha256] -= 1

    def is_needed(self, sha256: str) -> bool:
        """Whether a request that began with this connection runs."""
        return sha256 in self._holds

    @property
    def running(self) -> Counter[str]:
        """How many answers the engine works on, by the digest of their connection."""
        return +self._answers

    def has(self, sha256: str, name: object) -> bool:
        """Whether this connection is held, and has a Transform Matrix called ``name``."""
        return isinstance(name, str) and sha256 in self._known and name in self._known[sha256].router.connections

    @property
    def earlier(self) -> list[Served]:
        """The earlier connections, which are held for running requests that began with them."""
        return [one for one in self._known.values() if one is not self.served]

    def serve(self, other: Served) -> None:
        """Let new requests begin with ``other``."""
        before, self.served = self.served, other
        self._known[other.sha256] = other
        if other.sha256 != before.sha256:
            show_connection(other.sha256, before.sha256)

    def forget(self, sha256: str) -> None:
        """Stop holding an earlier connection."""
        if sha256 != self.served.sha256:
            self._known.pop(sha256, None)
