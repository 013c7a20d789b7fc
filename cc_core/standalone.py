"""A connection on its own, and the model that it belongs to. Nothing here loads torch.

`cc_train.model.standalone` writes such a directory, and says what is in it. A whole checkpoint has its own
weights; a connection on its own names the weights that it belongs to.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cc_core.architectures import UnsupportedArchitectureError, base_architecture
from cc_core.description import (
    ConnectionConfig,
    ConnectionDescription,
    architecture_named,
    describe,
    read_description,
)
from cc_core.evidence import Sha256
from cc_core.files import CheckpointError, describe_problem, read_json
from cc_core.names import CONFIG_FILE, WEIGHTS
from cc_core.tensor_files import stored_tensors

ENTRY_FILE: Final = "cc_connection.json"
TEMPLATE_FILE: Final = "chat_template.jinja"
_BLOCK = 1 << 24
_WORDS: Final = {
    "architecture": "architecture",
    "num_hidden_layers": "number of layers",
    "hidden_size": "hidden size",
    "weights_sha256": "weights' SHA-256",
}


class Base(BaseModel):
    """The model that a connection was trained on."""

    model_config = ConfigDict(frozen=True)

    architecture: str
    num_hidden_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    weights_sha256: Sha256

    def difference(self, other: Base, name: object) -> str | None:
        """In what ``other``, which the message calls ``name``, first differs; None if it is the same model."""
        for field, words in _WORDS.items():
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs:
                return f"its {words} is {mine}, that of {name} is {theirs}"
        return None


class StandaloneConfig(ConnectionConfig):
    """What is in ``cc_connection.json``."""

    base: Base


def is_alone(directory: Path) -> bool:
    """Whether ``directory`` holds a connection on its own, and no model."""
    return (directory / ENTRY_FILE).is_file() and not (directory / CONFIG_FILE).is_file()


def read_alone(directory: Path) -> StandaloneConfig:
    """Read the entry of a connection on its own; raises `CheckpointError`."""
    path = directory / ENTRY_FILE
    if not path.is_file() and (directory / CONFIG_FILE).is_file():
        raise CheckpointError(directory, f"is a whole model, not a connection on its own (no {ENTRY_FILE})")
    try:
        return StandaloneConfig.model_validate(read_json(path))
    except ValidationError as error:
        raise CheckpointError(path, describe_problem(error)) from error


def describe_either(directory: Path) -> ConnectionDescription:
    """The description of a checkpoint's connection, or of one on its own; raises `CheckpointError`."""
    if not is_alone(directory):
        return read_description(directory)
    entry = read_alone(directory)
    return describe(directory, entry, entry.base.model_dump())


def describe_base(directory: Path) -> Base:
    """What identifies the model in ``directory``; raises `CheckpointError` if it cannot be connected."""
    path = directory / CONFIG_FILE
    config = read_json(path)
    try:
        architecture = base_architecture(architecture_named(path, config))
        shape = {field: config.get(field) for field in ("num_hidden_layers", "hidden_size")}
        return Base.model_validate({"architecture": architecture, **shape, "weights_sha256": weights_digest(directory)})
    except UnsupportedArchitectureError as error:
        raise CheckpointError(path, f"field 'architectures': {error}") from error
    except ValidationError as error:
        raise CheckpointError(path, describe_problem(error)) from error


def weights_digest(directory: Path) -> str:
    """SHA-256 over the names, types, shapes and values of a model's weights, however many files hold them.

    Raises:
        CheckpointError: there are no weights, or one of the files is not whole.
    """
    files = sorted(directory.glob(WEIGHTS))
    tensors = {name: (path, tensor) for path in files for name, tensor in stored_tensors(path).items()}
    if not tensors:
        raise CheckpointError(directory, f"holds no {WEIGHTS}; a connection belongs to weights in this format")
    digest = hashlib.sha256()
    for name, (path, tensor) in sorted(tensors.items()):
        digest.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
        with path.open("rb") as file:
            file.seek(tensor.begin)
            for left in range(tensor.end - tensor.begin, 0, -_BLOCK):
                digest.update(file.read(min(_BLOCK, left)))
    return digest.hexdigest()
