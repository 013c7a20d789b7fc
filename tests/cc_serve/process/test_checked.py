"""A checkpoint is read whole once in a process, and again only when its file has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cc_core.checkpoint
from cc_core.checkpoint import CheckpointError, load_connection, save_connection
from cc_serve.process.checked import checked_description
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories of which all matrices were read."""
    read: list[Path] = []

    def load(directory: Path) -> object:
        read.append(directory)
        return load_connection(directory)

    monkeypatch.setattr(cc_core.checkpoint, "load_connection", load)
    return read


def test_only_a_changed_file_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    save_checkpoint(tmp_path, tiny_llama(), random_connection(["global", "de"]), ["de", "fr"])
    first, second = checked_description(tmp_path), checked_description(tmp_path)
    assert (first.names, first.config.languages) == (("global", "de"), ("de", "fr"))
    assert first == second
    assert reads == [tmp_path]
    save_connection(tmp_path, random_connection(["global"]), ["de"])
    assert checked_description(tmp_path).names == ("global",)
    assert reads == [tmp_path] * 2


def test_a_file_that_is_damaged_afterwards_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_llama(), random_connection(["global"]), ["de"])
    checked_description(tmp_path)
    path = tmp_path / "cc_connection.safetensors"
    content = bytearray(path.read_bytes())
    content[-4:] = torch.tensor([0.5]).numpy().tobytes()
    path.write_bytes(content)
    for _ in range(2):  # what was refused is not taken for checked
        with pytest.raises(CheckpointError, match="sha256 is"):
            checked_description(tmp_path)
