"""Whether another connection belongs to the model that is served."""

from __future__ import annotations

from pathlib import Path

from cc_core.description import CheckpointError, ConnectionDescription
from cc_core.names import CONFIG_FILE, CONNECTION_KEY, WEIGHTS
from cc_core.standalone import (
    ENTRY_FILE,
    TEMPLATE_FILE,
    Base,
    describe_base,
    describe_either,
    is_alone,
    read_alone,
)


class ServedBase:
    """The model of a checkpoint as it was when the server started.

    Its weights are hashed once, when the first other connection is offered. They need no hashing if the other
    checkpoint has the same files, or links to them, as ``cc-train fit`` makes.

    Args:
        directory: the checkpoint.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = _identities(directory)
        self._template = _template(directory)
        self._description = describe_either(directory)
        self._base: Base | None = None

    def check(self, directory: Path) -> ConnectionDescription:
        """Describe the connection in ``directory``, and check that it belongs to this model.

        Args:
            directory: another checkpoint, or a connection on its own.

        Raises:
            CheckpointError: the connection belongs to another model or cannot be read; the message names the file and
                the field.
        """
        found = describe_either(directory)
        alone = is_alone(directory)
        path = directory / (ENTRY_FILE if alone else CONFIG_FILE)
        mine, theirs = self._description, found
        model, entry = ("base.", "") if alone else ("", f"{CONNECTION_KEY}.")
        for field, here, there in (
            (f"{model}num_hidden_layers", mine.num_layers, theirs.num_layers),
            (f"{model}hidden_size", mine.hidden_size, theirs.hidden_size),
            (f"{entry}anchor_offset", mine.config.anchor_offset, theirs.config.anchor_offset),
        ):
            if here != there:
                raise CheckpointError(path, f"field {field!r} is {there}, that of the served checkpoint is {here}")
        if alone:
            difference = read_alone(directory).base.difference(self._described(), self._directory)
        elif self._files and _identities(directory) == self._files:
            difference = None
        else:
            difference = describe_base(directory).difference(self._described(), self._directory)
        if difference is not None:
            raise CheckpointError(path, f"belongs to another model: {difference}; start a server with that model")
        template = _template(directory)
        if None not in (template, self._template) and template != self._template:
            raise CheckpointError(
                directory / TEMPLATE_FILE,
                "is not the template of the served checkpoint; start a server with this checkpoint",
            )
        return found

    def _described(self) -> Base:
        if self._base is None:
            if _identities(self._directory) != self._files:
                raise CheckpointError(
                    self._directory, "its weights have changed since the server started; restart the server"
                )
            self._base = describe_base(self._directory)
        return self._base


def _identities(directory: Path) -> frozenset[tuple[object, ...]]:
    stats = ((path.name, path.stat()) for path in directory.glob(WEIGHTS))
    return frozenset((name, one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in stats)


def _template(directory: Path) -> bytes | None:
    path = directory / TEMPLATE_FILE
    return path.read_bytes() if path.is_file() else None
