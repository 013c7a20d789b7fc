"""The deployable checkpoint: a plain Hugging Face directory, plus the connection.

- ``cc_connection.safetensors``: ``cc.decision.weight`` [L, H], ``cc.transform.global`` [H, H] and any number
  of ``cc.transform.<language>`` [H, H], all fp32.
- ``config.json``: ``architectures: ["CC..."]`` and ``cc_connection``, described by `ConnectionConfig`.

Loading validates everything and raises `CheckpointError`, which names the file and the field.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cc_core.architectures import CC_PREFIX, UnsupportedArchitectureError, base_architecture
from cc_core.connection import Connection
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, CONNECTION_KEY, GLOBAL

INDEX_FILE = "model.safetensors.index.json"
DECISION = "cc.decision.weight"
TRANSFORM = "cc.transform."
LANGUAGE_CODE = re.compile(r"[a-z]{2}")


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file, the field and what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class PlainModelError(CheckpointError):
    """The directory holds an ordinary model, without a connection."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            directory / CONFIG_FILE,
            f"not a CC-Tuned checkpoint (no {CONNECTION_KEY!r}). Make one with: "
            f"cc-train run --model {directory} --data PAIRS.jsonl --output OUTPUT",
        )


class ConnectionConfig(BaseModel):
    """``cc_connection`` in ``config.json``. Unknown keys are kept: they describe, and are never obeyed."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: int = Field(strict=True, ge=1, le=1)
    anchor_offset: int = Field(strict=True, le=-1)
    languages: tuple[str, ...]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("languages")
    @classmethod
    def _iso_639_1(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for language in languages:
            if not LANGUAGE_CODE.fullmatch(language):
                raise ValueError(f"{language!r} is not an ISO 639-1 code")
        return languages


def save_connection(
    directory: Path, connection: Connection, languages: list[str], details: dict[str, Any] | None = None
) -> None:
    """Write the connection into a saved Hugging Face checkpoint, each file aside and then renamed.

    Args:
        directory: holds ``config.json`` and the model's weights already.
        connection: what to write.
        languages: every language the connection was trained for, ISO 639-1.
        details: further facts for ``config.json``, such as the base model and the fit's quality.
    """
    directory = Path(directory)
    config = read_json(directory / CONFIG_FILE)
    base = base_architecture(architecture_named(directory / CONFIG_FILE, config))
    entry = write_connection(directory, connection, config, languages, details or {})
    config["architectures"] = [CC_PREFIX + base]
    config[CONNECTION_KEY] = entry.model_dump(mode="json")
    if (directory / INDEX_FILE).exists():
        # vLLM reads only the files that a sharded checkpoint's index names.
        index = read_json(directory / INDEX_FILE)
        weights = {name: file for name, file in index["weight_map"].items() if file != CONNECTION_FILE}
        index["weight_map"] = weights | dict.fromkeys(_tensors(connection), CONNECTION_FILE)
        replace_file(directory / INDEX_FILE, json_bytes(index))
    replace_file(directory / CONFIG_FILE, json_bytes(config))


def write_connection(
    directory: Path, connection: Connection, config: dict[str, Any], languages: list[str], details: dict[str, Any]
) -> ConnectionConfig:
    """Write ``cc_connection.safetensors``, aside and then renamed, and return the entry that describes it.

    The tensors are written from where they are, so that the matrices of a large model may be mapped files.
    """
    tensors = _tensors(connection)
    check_tensors(directory, tensors, config)
    with replacing(directory / CONNECTION_FILE) as aside:
        save_file(tensors, aside)
        digest = _sha256(aside)
    return ConnectionConfig.model_validate(
        {
            **details,
            "version": 1,
            "anchor_offset": connection.anchor_offset,
            "languages": languages,
            "sha256": digest,
        }
    )


def _tensors(connection: Connection) -> dict[str, Tensor]:
    tensors = {DECISION: connection.decision.detach().cpu().contiguous()}
    return tensors | {TRANSFORM + n: t.detach().cpu().contiguous() for n, t in connection.transforms.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_connection(directory: Path) -> tuple[Connection, ConnectionConfig]:
    """Read and validate a checkpoint's connection.

    Raises:
        PlainModelError: the directory is an ordinary model.
        CheckpointError: version, shapes, finiteness, digest, or a file is wrong.
    """
    directory = Path(directory)
    config = read_json(directory / CONFIG_FILE)
    entry = parse_config(directory, config)
    return read_connection(directory, entry, config, f"{CONFIG_FILE} field '{CONNECTION_KEY}.sha256'"), entry


def read_connection(directory: Path, entry: ConnectionConfig, config: dict[str, Any], source: str) -> Connection:
    """Read and validate a directory's connection file.

    Args:
        directory: holds ``cc_connection.safetensors``.
        entry: what describes it.
        config: ``num_hidden_layers`` and ``hidden_size`` of the model that it is for.
        source: where the digest is written, for a message.

    Raises:
        CheckpointError: shapes, finiteness or digest are wrong, or the file cannot be read.
    """
    path = directory / CONNECTION_FILE
    try:
        digest = _sha256(path)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror}); copy the whole checkpoint again") from error
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(path, f"is truncated or not safetensors ({error}); copy it again") from error
    check_tensors(directory, tensors, config)
    if digest != entry.sha256:
        raise CheckpointError(
            path,
            f"sha256 is {digest}, but {source} says {entry.sha256}; "
            "the file was changed after training, copy the checkpoint again",
        )
    transforms = {k.removeprefix(TRANSFORM): v for k, v in tensors.items() if k.startswith(TRANSFORM)}
    names = [GLOBAL, *sorted(set(transforms) - {GLOBAL})]
    return Connection(tensors[DECISION], {name: transforms[name] for name in names}, anchor_offset=entry.anchor_offset)


def parse_config(directory: Path, config: dict[str, Any]) -> ConnectionConfig:
    """Validate ``cc_connection`` and ``architectures`` of a checkpoint's ``config.json``."""
    path = Path(directory) / CONFIG_FILE
    if CONNECTION_KEY not in config:
        raise PlainModelError(Path(directory))
    architecture = architecture_named(path, config)
    try:
        base = base_architecture(architecture)
    except UnsupportedArchitectureError as error:
        raise CheckpointError(path, f"field 'architectures': {error}") from error
    if architecture != CC_PREFIX + base:
        raise CheckpointError(path, f"field 'architectures' is {architecture!r}, expected {CC_PREFIX + base!r}")
    try:
        return ConnectionConfig.model_validate(config[CONNECTION_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([CONNECTION_KEY, *map(str, first["loc"])])
        raise CheckpointError(path, f"field {field!r}: {first['msg']} (found {first['input']!r})") from error


def check_tensors(directory: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Check names, dtype, shapes and finiteness of a connection's tensors against the model's configuration."""
    path = Path(directory) / CONNECTION_FILE
    layers, hidden = (
        _size(Path(directory) / CONFIG_FILE, config, name) for name in ("num_hidden_layers", "hidden_size")
    )
    for required in (DECISION, TRANSFORM + GLOBAL):
        if required not in tensors:
            raise CheckpointError(path, f"tensor {required!r} is missing")
    for name, tensor in tensors.items():
        if name == DECISION:
            expected = (layers, hidden)
        elif name.startswith(TRANSFORM) and (
            name == TRANSFORM + GLOBAL or LANGUAGE_CODE.fullmatch(name.removeprefix(TRANSFORM))
        ):
            expected = (hidden, hidden)
        else:
            raise CheckpointError(path, f"tensor {name!r} is not part of a connection")
        if tuple(tensor.shape) != expected:
            raise CheckpointError(
                path, f"tensor {name!r} has shape {list(tensor.shape)}, the model needs {list(expected)}"
            )
        if tensor.dtype != torch.float32:
            raise CheckpointError(path, f"tensor {name!r} is {tensor.dtype}, expected torch.float32")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(path, f"tensor {name!r} holds NaN or infinite values; train or fit it again")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file aside, renamed to ``path`` once it is written, so that a crash leaves the old file or the new one."""
    aside = path.with_name(path.name + ".partial")
    yield aside
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(path)


def replace_file(path: Path, payload: bytes) -> None:
    """Write ``payload`` as `replacing` does."""
    with replacing(path) as aside:
        aside.write_bytes(payload)


def architecture_named(path: Path, config: dict[str, Any]) -> str:
    """The first of ``architectures`` in the ``config`` read from ``path``; raises `CheckpointError`."""
    found = config.get("architectures")
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise CheckpointError(path, f"field 'architectures' must be a list of names (found {found!r})")
    return found[0]


def _size(path: Path, config: dict[str, Any], field: str) -> int:
    found = config.get(field)
    if type(found) is not int or found < 1:  # a bool is an int too
        raise CheckpointError(path, f"field {field!r} must be a whole number above 0 (found {found!r})")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `CheckpointError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(path, f"is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(path, "is not a JSON object")
    return content


def json_bytes(content: dict[str, Any]) -> bytes:
    """``content`` as a file for people to read."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
