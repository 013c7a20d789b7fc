"""The headers of safetensors files: which tensors a file holds, and where. Nothing here loads torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NamedTuple

from safetensors import SafetensorError, safe_open

from cc_core.files import CheckpointError

_LENGTH_BYTES: Final = 8  # the length of the header, with which a file begins


class StoredTensor(NamedTuple):
    """What a file's header says of a tensor.

    Args:
        dtype: as safetensors spells it, such as ``F32``.
        shape: of the tensor.
        begin, end: the places of its first byte in the file, and of the byte after its last one.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors that the safetensors file at ``path`` holds, by name; raises `CheckpointError` if it is not whole."""
    try:
        # safe_open checks the header and the file's length, but does not say where the tensors lie. Its own OSError has
        # no strerror; that of open has one.
        with path.open("rb") as file, safe_open(path, framework="np"):
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror}); copy the whole checkpoint again") from error
    except SafetensorError as error:
        raise CheckpointError(
            path, f"is truncated or not safetensors ({error}); copy the whole checkpoint again"
        ) from error
    header.pop("__metadata__", None)
    first = _LENGTH_BYTES + length
    return {
        name: StoredTensor(about["dtype"], tuple(about["shape"]), *(first + place for place in about["data_offsets"]))
        for name, about in header.items()
    }
