"""A connection on its own, as ``cc-train run --tuning connection`` writes it, and attached to its base.

- ``cc_connection.safetensors``: as in a checkpoint.
- ``cc_connection.json``: the field ``cc_connection`` of a checkpoint's ``config.json``, and ``base``: architecture, L,
  H and a digest of the weights of the model that it was trained on.
- ``chat_template.jinja``: the template that it was trained with.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cc_core.checkpoint import load_alone, save_connection, write_connection
from cc_core.connection import Connection
from cc_core.description import ConnectionConfig
from cc_core.files import CheckpointError, json_bytes, replace_file
from cc_core.names import CONNECTION_FILE
from cc_core.standalone import ENTRY_FILE, TEMPLATE_FILE, describe_base
from cc_train.model.projection import PROJECTION_FILE
from cc_train.workspace import Workspace


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


def attach(model: Path, connection: Path, output: Path, *, overwrite: bool = False) -> Path:
    """Copy a base model to ``output`` with a connection that was trained on it.

    Raises:
        CheckpointError: one of them cannot be read, or the connection was trained on another model.
        OutputError: ``output`` cannot be written, or something is there.
    """
    trained, entry, expected = load_alone(connection)
    found = describe_base(model)
    difference = expected.difference(found, model)
    if difference is not None:
        raise CheckpointError(
            connection / ENTRY_FILE,
            f"was trained on another model: {difference}; attach it to its own base, or train one with "
            f"cc-train run --tuning connection --model {model}",
        )
    workspace = Workspace(output, overwrite=overwrite)
    directory = workspace.open()
    with workspace.writing():
        for path in sorted(model.iterdir()):
            if path.is_file() and path.name not in (CONNECTION_FILE, ENTRY_FILE):
                shutil.copyfile(path, directory / path.name)
        shutil.copyfile(connection / TEMPLATE_FILE, directory / TEMPLATE_FILE)
        put_connection(connection, trained, entry, directory)
        return workspace.publish()


def put_connection(source: Path, connection: Connection, entry: ConnectionConfig, directory: Path) -> None:
    """Write a connection into another checkpoint, with the projection that ``cc-train fit`` needs.

    Args:
        source: where the connection was read.
        connection: what was read there.
        entry: what was read there about it.
        directory: holds the checkpoint.
    """
    details = entry.model_dump(mode="json", exclude=set(ConnectionConfig.model_fields))
    evidence = None if entry.evidence is None else entry.evidence.model_dump(mode="json")
    save_connection(directory, connection, list(entry.languages), details, evidence)
    if (source / PROJECTION_FILE).is_file():
        (directory / PROJECTION_FILE).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / PROJECTION_FILE, directory / PROJECTION_FILE)
