"""What a model's ``config.json`` says about how its weights were quantised. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cc_core.files import CheckpointError, describe_problem, read_json
from cc_core.names import CONFIG_FILE, QUANTIZATION


class Group(BaseModel):
    """Modules that are quantised alike."""

    model_config = ConfigDict(frozen=True)

    targets: tuple[str, ...] | None = None


class Quantization(BaseModel):
    """The fields of ``quantization_config`` that we read; the others are for vLLM and transformers.

    Args:
        quant_method: the tool's format.
        config_groups: the modules that are quantised, by the group's name.
        ignore: the modules that are not.
        transform_config: how activations were rotated; None if they were not.
    """

    model_config = ConfigDict(frozen=True)

    quant_method: str | None = None
    config_groups: dict[str, Group] | None = None
    ignore: tuple[str, ...] | None = None
    transform_config: dict[str, Any] | None = None


def quantization_in(path: Path, config: Mapping[str, Any]) -> Quantization | None:
    """What ``config``, which was read from ``path``, says; None if the model is not quantised.

    Raises:
        CheckpointError: a field has the wrong type.
    """
    entry = config.get(QUANTIZATION)
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise CheckpointError(path, f"field '{QUANTIZATION}' must be an object (found {repr(entry)[:80]})")
    try:
        return Quantization.model_validate(entry)
    except ValidationError as error:
        raise CheckpointError(path, describe_problem(error, QUANTIZATION)) from error


def quantization_of(directory: Path) -> Quantization | None:
    """What the model in ``directory`` says; None if it is not quantised, or is not there.

    Raises:
        CheckpointError: its ``config.json`` cannot be read, or a field has the wrong type.
    """
    path = directory / CONFIG_FILE
    return quantization_in(path, read_json(path)) if path.is_file() else None
