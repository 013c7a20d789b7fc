"""The full check of a checkpoint, once in a process: it reads and hashes every matrix, which takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cc_core.description import ConnectionDescription, read_description
from cc_core.names import CONNECTION_FILE

# The files that passed, by path, inode, size, time and digest.
_CHECKED: Final[set[tuple[object, ...]]] = set()


def checked_description(directory: Path) -> ConnectionDescription:
    """The description of a checkpoint whose matrices are whole and finite.

    ``cc-serve serve`` asks before it loads vLLM, and the engine's configuration asks again, in the same process. The
    second time, only a file that has changed since is read.

    Raises:
        PlainModelError: the directory is an ordinary model.
        CheckpointError: a file, a field or a tensor is wrong, a value is not finite, or the digest is another one.
    """
    description = read_description(directory)
    path = (directory / CONNECTION_FILE).resolve()
    status = path.stat()
    identity = (path, status.st_ino, status.st_size, status.st_mtime_ns, description.config.sha256)
    if identity not in _CHECKED:
        from cc_core.checkpoint import load_connection  # here, since it imports torch

        load_connection(directory)
        _CHECKED.add(identity)
    return description
