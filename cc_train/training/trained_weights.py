"""The trained weights in Trainer's own checkpoints, to resume from."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

TRAINED_FILE = "cc_training.safetensors"


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and the rows."""


def save_trained(directory: Path, state: Mapping[str, Tensor], names: Set[str]) -> None:
    """Write the weights called ``names``, in full precision."""
    save_file({name: state[name].contiguous() for name in sorted(names)}, directory / TRAINED_FILE)


def load_trained(checkpoint: Path, names: Set[str]) -> dict[str, Tensor]:
    """The weights that `save_trained` wrote; raises `TrainingError` unless they are those called ``names``."""
    path = checkpoint / TRAINED_FILE
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}), so nothing can be resumed from it") from error
    if saved.keys() != names:
        some = sorted(saved.keys() ^ names)[0]
        raise TrainingError(
            f"{path}: is of another --tuning, --method or model ({some!r} is in one of them only); "
            "resume with those that the run began with"
        )
    return saved
