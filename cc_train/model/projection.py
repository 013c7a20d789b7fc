"""The projection's file in a checkpoint. Only ``cc-train fit`` reads it: its new matrices must take in the same ``P``.

What the projection is: `cc_train.two_pass.extensions`.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

PROJECTION_FILE = "training/cc_projection.safetensors"
"""In a directory of its own, since vLLM loads every safetensors file beside the weights."""
_NAME = "projection"


def save_projection(projection: Tensor, directory: Path) -> None:
    """Write ``P`` [H, H] to `PROJECTION_FILE`."""
    path = directory / PROJECTION_FILE
    path.parent.mkdir(exist_ok=True)
    save_file({_NAME: projection.float().cpu().contiguous()}, path)


def load_projection(directory: Path) -> Tensor | None:
    """Read ``P`` [H, H] of a checkpoint; None if it was trained without.

    Raises:
        ValueError: the file is truncated or something else.
    """
    path = directory / PROJECTION_FILE
    if not path.exists():
        return None
    try:
        return load_file(path)[_NAME]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path}: is truncated or not a projection; copy it again") from error
