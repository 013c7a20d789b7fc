"""Weights are told apart by their digest, and none is made of a file that is not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cc_core.files import CheckpointError
from cc_core.standalone import weights_digest


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _write_header(path: Path, header: object) -> None:
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded)


@pytest.mark.parametrize(
    "spoil",
    [
        _cut,
        lambda path: path.write_bytes(b"\x10"),
        lambda path: path.write_bytes((1 << 62).to_bytes(8, "little")),
        lambda path: _write_header(path, []),
        lambda path: _write_header(path, {"a": {}}),
    ],
    ids=["cut", "no header", "too long a header", "no object", "no dtype"],
)
def test_a_damaged_file_has_no_digest(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    save_file({"a": torch.arange(4.0)}, path := tmp_path / "model.safetensors")
    assert len(weights_digest(tmp_path)) == 64
    spoil(path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is truncated or not safetensors"):
        weights_digest(tmp_path)
