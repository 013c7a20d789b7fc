"""Weights are told apart by their digest, however many files hold them, and a file that is not whole has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cc_core.files import CheckpointError
from cc_core.standalone import weights_digest

A, B = {"a": torch.arange(4.0)}, {"b": torch.ones(2, 2)}


def _digest(directory: Path, *files: dict[str, torch.Tensor]) -> str:
    directory.mkdir()
    for number, tensors in enumerate(files):
        save_file(tensors, directory / f"model-{number}.safetensors")
    return weights_digest(directory)


def test_the_digest_is_that_of_the_tensors_and_not_of_the_files(tmp_path: Path) -> None:
    whole = _digest(tmp_path / "whole", A | B)
    assert whole == _digest(tmp_path / "parts", B, A)
    values, names, types = {"a": A["a"] + 1}, {"c": A["a"]}, {"a": A["a"].double()}
    shapes = {"a": A["a"].reshape(2, 2)}
    others = [_digest(tmp_path / f"{number}", one | B) for number, one in enumerate((values, names, types, shapes, {}))]
    assert len({whole, *others}) == 6


def test_the_digest_stays_what_it_was(tmp_path: Path) -> None:
    # It is in files that people keep.
    assert _digest(tmp_path / "whole", A | B) == ("3c18ed41aa1393d8d1cd3275866b245ffb32ed714f2ec7da25f4090aec6b57b5")


def test_a_damaged_file_has_no_digest(tmp_path: Path) -> None:
    save_file(A, path := tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is truncated or not safetensors"):
        weights_digest(tmp_path)
