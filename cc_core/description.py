"""What a checkpoint says about its connection, read without torch and without any matrix.

`read_description` reads ``config.json`` and the header of ``cc_connection.safetensors``. That takes milliseconds, and
is all that routing needs. `cc_core.checkpoint.load_connection` reads the matrices too, and checks their contents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from cc_core.architectures import CC_PREFIX, UnsupportedArchitectureError, base_architecture
from cc_core.evidence import Evidence, Sha256
from cc_core.experts import refuse_skipped_experts
from cc_core.files import CheckpointError as CheckpointError
from cc_core.files import describe_problem, read_json
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, CONNECTION_KEY, GLOBAL, QUANTIZATION
from cc_core.tensor_files import stored_tensors

DECISION = "cc.decision.weight"
TRANSFORM = "cc.transform."
LANGUAGE_CODE = re.compile(r"[a-z]{2}")
DTYPE = "torch.float32"
"""The only type of a connection's tensors, as torch spells it."""
_TORCH_DTYPES = {"F64": "torch.float64", "F32": DTYPE, "F16": "torch.float16", "BF16": "torch.bfloat16"}

Layout = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of each tensor, by its name; the dtype as torch spells it."""


class PlainModelError(CheckpointError):
    """The directory holds an ordinary model, without a connection."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            directory / CONFIG_FILE,
            f"not a CC-Tuned checkpoint (no {CONNECTION_KEY!r}). Make one with: "
            f"cc-train run --model {directory} --data PAIRS.jsonl --output OUTPUT",
        )


class ConnectionConfig(BaseModel):
    """``cc_connection`` in ``config.json``. Unknown keys are kept for people to read; no code acts on them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: int = Field(strict=True, ge=1, le=1)
    anchor_offset: int = Field(strict=True, le=-1)
    languages: tuple[str, ...]
    sha256: Sha256
    evidence: Evidence | None = None

    @field_validator("languages")
    @classmethod
    def _iso_639_1(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for language in languages:
            if not LANGUAGE_CODE.fullmatch(language):
                raise ValueError(f"{language!r} is not an ISO 639-1 code")
        return languages

    @field_validator("evidence")
    @classmethod
    def _of_this_connection(cls, evidence: Evidence | None, info: ValidationInfo) -> Evidence | None:
        if evidence is not None and evidence.sha256 != info.data.get("sha256", evidence.sha256):
            raise ValueError(
                f"was measured on another connection, with sha256 {evidence.sha256}, this one's is "
                f"{info.data['sha256']}"
            )
        return evidence


@dataclass(frozen=True)
class ConnectionDescription:
    """A connection without its matrices.

    Args:
        names: of the Transform Matrices; ``global`` comes first, languages follow in alphabetical order.
        config: ``cc_connection`` in ``config.json``.
        num_layers: L.
        hidden_size: H.
    """

    names: tuple[str, ...]
    config: ConnectionConfig
    num_layers: int
    hidden_size: int


def read_description(directory: Path) -> ConnectionDescription:
    """Read and check what a checkpoint says about its connection. The matrices' contents are not read.

    Raises:
        PlainModelError: the directory is an ordinary model.
        CheckpointError: a file, a field, or a tensor's name, shape or dtype is wrong; or the quantising tool skipped
            experts or routers that ``config.json`` calls quantised.
    """
    directory = Path(directory)
    config = read_json(directory / CONFIG_FILE)
    description = describe(directory, parse_config(directory, config), config)
    refuse_skipped_experts(directory, config)
    return description


def describe(directory: Path, entry: ConnectionConfig, config: Mapping[str, Any]) -> ConnectionDescription:
    """Check the connection file's header against the model, and describe it; raises `CheckpointError`.

    Args:
        directory: holds ``cc_connection.safetensors``.
        entry: the connection's own configuration.
        config: ``num_hidden_layers`` and ``hidden_size`` of the model.
    """
    path = directory / CONNECTION_FILE
    if config.get(QUANTIZATION) and not path.exists():
        raise CheckpointError(
            path,
            "is missing, since tools that quantise a model do not copy it; add it: "
            f"cc-train attach --model {directory} --connection CHECKPOINT --output OUTPUT",
        )
    layout = {
        name: (tensor.shape, _TORCH_DTYPES.get(tensor.dtype, tensor.dtype))
        for name, tensor in stored_tensors(path).items()
    }
    layers, hidden = check_layout(directory, layout, config)
    names = {name.removeprefix(TRANSFORM) for name in layout if name.startswith(TRANSFORM)}
    return ConnectionDescription((GLOBAL, *sorted(names - {GLOBAL})), entry, layers, hidden)


def parse_config(directory: Path, config: dict[str, Any]) -> ConnectionConfig:
    """Check ``cc_connection`` and ``architectures`` of a checkpoint's ``config.json``; raises `CheckpointError`."""
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
        problem = describe_problem(error, CONNECTION_KEY)
        if error.errors()[0]["loc"][:1] == ("evidence",):
            problem += "; remove 'evidence', or measure again: cc-train fit CHECKPOINT --data PAIRS"
        raise CheckpointError(path, problem) from error


def architecture_named(path: Path, config: dict[str, Any]) -> str:
    """The first of ``architectures`` in ``config``, which was read from ``path``; raises `CheckpointError`."""
    found = config.get("architectures")
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise CheckpointError(path, f"field 'architectures' must be a list of names (found {found!r})")
    return str(found[0])


def check_layout(directory: Path, layout: Layout, config: Mapping[str, Any]) -> tuple[int, int]:
    """Check the names, shapes and dtypes of a connection's tensors against the model.

    Returns:
        L and H.

    Raises:
        CheckpointError: a tensor is wrong or missing, or ``config`` does not say L and H.
    """
    path = directory / CONNECTION_FILE
    layers, hidden = (_size(directory / CONFIG_FILE, config, field) for field in ("num_hidden_layers", "hidden_size"))
    for required in (DECISION, TRANSFORM + GLOBAL):
        if required not in layout:
            raise CheckpointError(path, f"tensor {required!r} is missing")
    for name, (shape, dtype) in layout.items():
        if name == DECISION:
            expected = (layers, hidden)
        elif name.startswith(TRANSFORM) and (
            name == TRANSFORM + GLOBAL or LANGUAGE_CODE.fullmatch(name.removeprefix(TRANSFORM))
        ):
            expected = (hidden, hidden)
        else:
            raise CheckpointError(path, f"tensor {name!r} is not part of a connection")
        if shape != expected:
            raise CheckpointError(path, f"tensor {name!r} has shape {list(shape)}, the model needs {list(expected)}")
        if dtype != DTYPE:
            raise CheckpointError(path, f"tensor {name!r} is {dtype}, expected {DTYPE}")
    return layers, hidden


def _size(path: Path, config: Mapping[str, Any], field: str) -> int:
    found = config.get(field)
    if type(found) is not int or found < 1:  # a bool is an int too
        raise CheckpointError(path, f"field {field!r} must be a whole number above 0 (found {found!r})")
    return found
