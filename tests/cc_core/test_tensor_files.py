"""A file's header says which tensors it holds, and where; none is believed of a file that is not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cc_core.files import CheckpointError
from cc_core.tensor_files import stored_tensors


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _write_header(path: Path, header: object) -> None:
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded)


def test_the_header_says_what_a_file_holds_and_where(tmp_path: Path) -> None:
    held = {"a": torch.arange(6, dtype=torch.int16).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    save_file(held, path := tmp_path / "file.safetensors", metadata={"format": "pt"})
    found = stored_tensors(path)
    assert {name: (one.dtype, one.shape) for name, one in found.items()} == {"a": ("I16", (2, 3)), "b": ("BF16", (4,))}
    content = path.read_bytes()
    for name, one in found.items():
        assert content[one.begin : one.end] == held[name].view(torch.uint8).numpy().tobytes()


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
def test_a_damaged_file_is_refused(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    save_file({"a": torch.arange(4.0)}, path := tmp_path / "model.safetensors")
    spoil(path)
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: is truncated or not safetensors .*; copy the whole"
    ):
        stored_tensors(path)


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors: cannot be read \(No such file or directory\); copy"):
        stored_tensors(tmp_path / "none.safetensors")
