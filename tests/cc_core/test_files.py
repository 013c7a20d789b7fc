"""A file is replaced as a whole, or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from cc_core.files import replace_file, replacing
from tests.support.disk import files_of_at_most


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for payload in (b"old", b"new"):
        replace_file(path, payload)
        assert path.read_bytes() == payload
    assert [*tmp_path.iterdir()] == [path]


def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    replace_file(path, b"old")
    with files_of_at_most(100):
        with pytest.raises(OSError, match="too large"):
            replace_file(path, bytes(1000))
        with pytest.raises(SafetensorError), replacing(path) as aside:
            save_file({"a": torch.zeros(1000)}, aside)
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_whoever_writes_nothing_learns_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "config.json"):
        pass
    assert not [*tmp_path.iterdir()]
