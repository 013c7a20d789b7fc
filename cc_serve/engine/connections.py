"""The connections that a worker decides with, by the SHA-256 of their files.

One of them is served, and has its matrices on the device. The host's memory has the one that is being loaded, and
earlier ones as long as requests run that began with them. Each request names the connection that it began with, so the
served one may change between any two steps. Decisions are made outside the graph, so no captured address matters.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor

from cc_core.checkpoint import load_either
from cc_core.connection import Connection, Decision
from cc_core.files import CheckpointError
from cc_core.terminal.text import one_line

_HOST = torch.device("cpu")


class HeldConnections:
    """The connections that one worker holds.

    Args:
        sha256: the digest of the connection that is served at first.
        connection: that connection.
        device: the device that decisions are made on.
    """

    def __init__(self, sha256: str, connection: Connection, device: torch.device) -> None:
        self._device = device
        # A copy, since vLLM may have mapped the file itself into memory, and somebody may overwrite it.
        self._held = {sha256: _copied(connection, device, copy=True)}
        self._loading: dict[str, _Loading] = {}
        self.served = sha256

    def __getitem__(self, sha256: str) -> Connection:
        return self._held[sha256]

    def holds(self, sha256: str, name: str) -> bool:
        """Whether this connection is held and has a Transform Matrix called ``name``."""
        return sha256 in self._held and name in self._held[sha256].names

    def begin_loading(self, directory: Path, sha256: str) -> None:
        """Begin to read a connection, in a thread: that takes seconds, and steps go on meanwhile."""
        if sha256 not in self._held:
            self._loading[sha256] = _Loading(directory, sha256)

    def problem(self, sha256: str) -> str | None:
        """What is wrong with a connection that was to be loaded; empty if nothing is, None while it is being read."""
        loading = self._loading.get(sha256)
        if loading is not None and loading.is_alive():
            return None
        return "" if sha256 in self._held else self._finish(sha256)

    def serve(self, sha256: str) -> None:
        """Move a connection to the device, and the one that was served to the host.

        Raises:
            ValueError: the connection could not be loaded; nothing has changed.
            torch.OutOfMemoryError: the device has no memory for the connection; nothing has changed.
        """
        if sha256 == self.served:
            return
        if sha256 not in self._held and (problem := self._finish(sha256)):
            raise ValueError(f"connection {sha256}: {problem}")
        before = self._held[self.served] = _copied(self._held[self.served], _HOST)
        try:
            self._held[sha256] = _copied(self._held[sha256], self._device)
        except RuntimeError:
            self._held[self.served] = _copied(before, self._device)
            raise
        self.served = sha256

    def restore(self, sha256: str, connection: Connection) -> None:
        """Take over a connection that vLLM has read again with the model's weights (``reload_weights``).

        After a deep sleep, the device has lost it together with the weights. Which one is served does not change.
        """
        if sha256 in self._held:
            device = self._device if sha256 == self.served else _HOST
            self._held[sha256] = _copied(connection, device, copy=True)

    def drop(self, sha256: str) -> None:
        """Forget a connection that is not served."""
        self._loading.pop(sha256, None)
        if sha256 != self.served:
            self._held.pop(sha256, None)

    def decide_each(
        self, digests: Sequence[str], names: Sequence[str], activations: Tensor, embedding: Tensor
    ) -> Decision:
        """`Connection.decide_each` for rows that each name a connection as well, by digest."""
        decisions: list[Decision] = []
        start = 0
        for sha256, group in groupby(digests):
            rows = slice(start, start + len(list(group)))
            connection = self._on_device(sha256, names[rows])
            decisions.append(connection.decide_each(names[rows], activations[rows], embedding[rows]))
            start = rows.stop
        return Decision.joined(decisions)

    def served_bytes(self) -> int:
        """The bytes of the served connection, which is on the device."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._held[self.served].parameters())

    def _on_device(self, sha256: str, names: Collection[str]) -> Connection:
        connection = self._held[sha256]
        return connection if sha256 == self.served else _copied(connection, self._device, names)

    def _finish(self, sha256: str) -> str:
        loading = self._loading.pop(sha256, None)
        if loading is None:
            return "is not loaded"
        loading.join()
        if loading.connection is None:
            return loading.problem
        self._held[sha256] = loading.connection
        return ""


class _Loading(Thread):
    """Reads and checks a connection. Afterwards, it is in ``connection``, or ``problem`` says what is wrong."""

    def __init__(self, directory: Path, sha256: str) -> None:
        super().__init__(daemon=True)
        self._directory = directory
        self._sha256 = sha256
        self.connection: Connection | None = None
        self.problem = ""
        self.start()

    def run(self) -> None:
        try:
            connection, entry = load_either(self._directory)
            if entry.sha256 != self._sha256:
                raise CheckpointError(self._directory, "was changed while it was being read; try again")
            self.connection = _copied(connection, _HOST, copy=True)
        except Exception as error:  # whatever it is, whoever waits for the connection has to be told
            self.problem = one_line(error)


def _copied(
    connection: Connection, device: torch.device, names: Collection[str] | None = None, *, copy: bool = False
) -> Connection:
    """``connection`` on ``device``, with the matrices called ``names`` or with all.

    Tensors that are on the device already are shared, unless ``copy`` asks for new ones.
    """
    return Connection(
        connection.decision.to(device, copy=copy),
        {
            name: matrix.to(device, copy=copy)
            for name, matrix in connection.transforms.items()
            if names is None or name in names
        },
        anchor_offset=connection.anchor_offset,
    )
