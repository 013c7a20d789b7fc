"""The full check of a checkpoint, once in a process: it reads and hashes every matrix, which takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cc_core.description import ConnectionDescription, read_description
from cc_core.names import CONNECTION_FILE

# The files that passed the check, by path, inode, size, time and digest.
_CHECKED: Final[set[tuple[object, ...]]] = set()


def checked_description(directory: Path) -> ConnectionDescription:
    """Check that a checkpoint's matrices are whole and finite, and describe it.

    ``cc-serve serve`` checks before it loads vLLM, and the engine's configuration checks again in the same process. The
    second check reads the file only if it has changed since the first.

    Raises:
        PlainModelError: the directory is an ordinary model.
        CheckpointError: a file, a field or a tensor is wrong, a value is not finite, or the digest differs.
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
