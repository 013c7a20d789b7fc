"""A connection on its own, as ``cc-train run --tuning connection`` writes it, and attached to its base.

- ``cc_connection.safetensors``: as in a checkpoint.
- ``cc_connection.json``: the field ``cc_connection`` of a checkpoint's ``config.json``, and ``base``: architecture, L,
  H and a digest of the weights of the model that it was trained on.
- ``chat_template.jinja``: the template that it was trained with.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cc_core.architectures import UnsupportedArchitectureError, base_architecture
from cc_core.checkpoint import read_connection, save_connection, write_connection
from cc_core.connection import Connection
from cc_core.description import ConnectionConfig, architecture_named, describe_problem
from cc_core.files import CheckpointError, json_bytes, read_json, replace_file
from cc_core.names import CONFIG_FILE, CONNECTION_FILE
from cc_train.model.projection import PROJECTION_FILE
from cc_train.workspace import Workspace

ENTRY_FILE = "cc_connection.json"
TEMPLATE_FILE = "chat_template.jinja"
_WEIGHTS = "model*.safetensors"
_HEADER_BYTES = 8  # the length of the header, with which a safetensors file begins
_BLOCK = 1 << 24


class Base(BaseModel):
    """The model that a connection was trained on."""

    model_config = ConfigDict(frozen=True)

    architecture: str
    num_hidden_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Entry(ConnectionConfig):
    base: Base


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
        first = error.errors()[0]
        raise CheckpointError(path, f"field {first['loc'][0]!r}: {first['msg']} (found {first['input']!r})") from error


def weights_digest(directory: Path) -> str:
    """SHA-256 over the names, types, shapes and values of a model's weights, in any number of safetensors files."""
    tensors: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    for path in sorted(directory.glob(_WEIGHTS)):
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(_HEADER_BYTES), "little")
                header = json.loads(file.read(min(length, path.stat().st_size)))
            header.pop("__metadata__", None)
            tensors |= {name: (path, _HEADER_BYTES + length, about) for name, about in header.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(path, f"is truncated or not safetensors ({error}); copy it again") from error
    if not tensors:
        raise CheckpointError(directory, f"holds no {_WEIGHTS}; a connection belongs to weights in this format")
    digest = hashlib.sha256()
    for name, (path, start, about) in sorted(tensors.items()):
        digest.update(json.dumps([name, about["dtype"], about["shape"]]).encode())
        first, end = about["data_offsets"]
        with path.open("rb") as file:
            file.seek(start + first)
            for left in range(end - first, 0, -_BLOCK):
                digest.update(file.read(min(_BLOCK, left)))
    return digest.hexdigest()


def save_alone(
    directory: Path,
    model: Path,
    connection: Connection,
    languages: list[str],
    details: dict[str, Any],
    template: str,
    evidence: dict[str, Any] | None = None,
) -> None:
    """Write a connection for ``model`` into ``directory``, which exists.

    Args:
        directory: receives the files.
        model: the base model's directory.
        connection, languages, details: as in `cc_core.checkpoint.save_connection`.
        template: the chat template that it was trained with.
        evidence: as in `cc_core.checkpoint.save_connection`.
    """
    base = describe_base(model).model_dump()
    entry = write_connection(directory, connection, base, languages, {**details, "base": base}, evidence)
    (directory / TEMPLATE_FILE).write_text(template, "utf-8")
    replace_file(directory / ENTRY_FILE, json_bytes(entry.model_dump(mode="json")))


def load_alone(directory: Path) -> tuple[Connection, ConnectionConfig, Base]:
    """Read and validate what `save_alone` wrote; raises `CheckpointError`."""
    path = directory / ENTRY_FILE
    if not path.is_file() and (directory / CONFIG_FILE).is_file():
        raise CheckpointError(directory, f"is a whole model, not a connection on its own (no {ENTRY_FILE})")
    try:
        entry = _Entry.model_validate(read_json(path))
    except ValidationError as error:
        raise CheckpointError(path, describe_problem(error)) from error
    return read_connection(directory, entry, entry.base.model_dump(), f"{ENTRY_FILE} field 'sha256'"), entry, entry.base


def attach(model: Path, connection: Path, output: Path, *, overwrite: bool = False) -> Path:
    """Copy a base model to ``output`` with a connection that was trained on it.

    Raises:
        CheckpointError: one of them cannot be read, or the connection was trained on another model.
        OutputError: ``output`` cannot be written, or something is there.
    """
    trained, entry, expected = load_alone(connection)
    found = describe_base(model)
    for field, what in (
        ("architecture", "architecture"),
        ("num_hidden_layers", "number of layers"),
        ("hidden_size", "hidden size"),
        ("weights_sha256", "weights' SHA-256"),
    ):
        if getattr(found, field) != getattr(expected, field):
            raise CheckpointError(
                connection / ENTRY_FILE,
                f"was trained on another model: its {what} is {getattr(expected, field)}, that of {model} is "
                f"{getattr(found, field)}; attach it to its own base, or train one with "
                f"cc-train run --tuning connection --model {model}",
            )
    workspace = Workspace(output, overwrite=overwrite)
    directory = workspace.open()
    with workspace.writing():
        for path in sorted(model.iterdir()):
            if path.is_file() and path.name not in (CONNECTION_FILE, ENTRY_FILE):
                shutil.copyfile(path, directory / path.name)
        shutil.copyfile(connection / TEMPLATE_FILE, directory / TEMPLATE_FILE)
        details = entry.model_dump(mode="json", exclude=set(ConnectionConfig.model_fields))
        evidence = None if entry.evidence is None else entry.evidence.model_dump(mode="json")
        save_connection(directory, trained, list(entry.languages), details, evidence)
        if (connection / PROJECTION_FILE).is_file():  # for `cc-train fit`
            (directory / PROJECTION_FILE).parent.mkdir()
            shutil.copyfile(connection / PROJECTION_FILE, directory / PROJECTION_FILE)
        return workspace.publish()
