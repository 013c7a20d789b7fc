"""The deployable checkpoint: a plain Hugging Face directory, plus the connection.

- ``cc_connection.safetensors``: ``cc.decision.weight`` [L, H], ``cc.transform.global`` [H, H] and any number
  of ``cc.transform.<language>`` [H, H], all fp32.
- ``config.json``: ``architectures: ["CC..."]`` and ``cc_connection``, described by `ConnectionConfig`.

Loading checks everything and raises `CheckpointError`, which names the file and the field.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cc_core.architectures import CC_PREFIX, base_architecture
from cc_core.connection import Connection
from cc_core.description import DECISION as DECISION
from cc_core.description import TRANSFORM as TRANSFORM
from cc_core.description import ConnectionConfig as ConnectionConfig
from cc_core.description import PlainModelError as PlainModelError
from cc_core.description import architecture_named, check_layout, describe, parse_config
from cc_core.files import CheckpointError as CheckpointError
from cc_core.files import json_bytes, read_json, replace_file, replacing
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, CONNECTION_KEY, INDEX_FILE
from cc_core.standalone import ENTRY_FILE, Base, is_alone, read_alone


def save_connection(
    directory: Path,
    connection: Connection,
    languages: list[str],
    details: dict[str, Any] | None = None,
    evidence: dict[str, Any] | None = None,
) -> None:
    """Write the connection into a saved Hugging Face checkpoint. A crash leaves each file whole, old or new.

    Args:
        directory: holds ``config.json`` and the model's weights already.
        connection: the connection to write.
        languages: every language the connection was trained for, ISO 639-1.
        details: further facts for ``config.json``, such as the base model and the fit's quality.
        evidence: the fields of a `cc_core.evidence.Evidence`, without the digest, which is filled in here.

    Raises:
        CheckpointError: ``config.json`` cannot be read, names no layers or hidden size, or does not fit the tensors; or
            a tensor is not finite.
        UnsupportedArchitectureError: the model cannot be connected.
    """
    directory = Path(directory)
    config = read_json(directory / CONFIG_FILE)
    base = base_architecture(architecture_named(directory / CONFIG_FILE, config))
    entry = write_connection(directory, connection, config, languages, details or {}, evidence)
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
    directory: Path,
    connection: Connection,
    config: dict[str, Any],
    languages: list[str],
    details: dict[str, Any],
    evidence: dict[str, Any] | None = None,
) -> ConnectionConfig:
    """Write ``cc_connection.safetensors`` and return the entry that describes it; `save_connection` has the arguments.

    A crash leaves the old file or the new one. Matrices that are memory-mapped files are not read into memory as a
    whole, so that those of a large model need no room.
    """
    tensors = _tensors(connection)
    layout = {name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()}
    check_layout(directory, layout, config)
    _check_finite(directory / CONNECTION_FILE, tensors)
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
            "evidence": None if evidence is None else {**evidence, "sha256": digest},
        }
    )


def load_connection(directory: Path, *, evidence: bool = True) -> tuple[Connection, ConnectionConfig]:
    """Read and check a checkpoint's connection, with all its matrices.

    Args:
        directory: the checkpoint.
        evidence: whether to read its evidence; a command that measures it again has no use for the old one.

    Raises:
        PlainModelError: the directory is an ordinary model.
        CheckpointError: a file, the version, a shape, a value or the digest is wrong.
    """
    directory = Path(directory)
    config = read_json(directory / CONFIG_FILE)
    if not evidence and isinstance(fields := config.get(CONNECTION_KEY), dict):
        fields.pop("evidence", None)
    entry = parse_config(directory, config)
    return read_connection(directory, entry, config, f"{CONFIG_FILE} field '{CONNECTION_KEY}.sha256'"), entry


def load_alone(directory: Path) -> tuple[Connection, ConnectionConfig, Base]:
    """Read and check a connection on its own; raises `CheckpointError`."""
    entry = read_alone(directory)
    connection = read_connection(directory, entry, entry.base.model_dump(), f"{ENTRY_FILE} field 'sha256'")
    return connection, entry, entry.base


def load_either(directory: Path) -> tuple[Connection, ConnectionConfig]:
    """Read and check a checkpoint's connection, or one on its own; raises `CheckpointError`."""
    return load_alone(directory)[:2] if is_alone(directory) else load_connection(directory)


def read_connection(directory: Path, entry: ConnectionConfig, config: dict[str, Any], source: str) -> Connection:
    """Read and check a directory's connection file.

    Args:
        directory: holds ``cc_connection.safetensors``.
        entry: the connection's own configuration.
        config: ``num_hidden_layers`` and ``hidden_size`` of the model.
        source: the file and field that have the digest, for the message.

    Raises:
        CheckpointError: the file cannot be read, or a shape, a value or the digest is wrong.
    """
    path = directory / CONNECTION_FILE
    names = describe(directory, entry, config).names
    try:
        tensors = load_file(path)
        digest = _sha256(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(path, f"cannot be read ({error}); copy the whole checkpoint again") from error
    _check_finite(path, tensors)
    if digest != entry.sha256:
        raise CheckpointError(
            path,
            f"sha256 is {digest}, but {source} says {entry.sha256}; "
            "the file was changed after training: copy the checkpoint again",
        )
    transforms = {name: tensors[TRANSFORM + name] for name in names}
    return Connection(tensors[DECISION], transforms, anchor_offset=entry.anchor_offset)


def _tensors(connection: Connection) -> dict[str, Tensor]:
    tensors = {DECISION: connection.decision.detach().cpu().contiguous()}
    return tensors | {TRANSFORM + n: t.detach().cpu().contiguous() for n, t in connection.transforms.items()}


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(path, f"tensor {name!r} holds NaN or infinite values; train or fit it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
