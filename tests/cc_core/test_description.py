"""A checkpoint is described from its configuration and one header: neither torch nor a matrix is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cc_core.checkpoint import load_connection
from cc_core.description import CheckpointError, PlainModelError, read_description
from cc_core.names import CONNECTION_FILE
from tests.support.tiny import HIDDEN, LAYERS, random_connection, save_checkpoint, tiny_llama


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "llama", tiny_llama(), random_connection(["sw", "global", "de"]), ["de", "fr"])


def test_it_tells_what_loading_everything_tells(checkpoint: Path) -> None:
    described = read_description(checkpoint)
    connection, config = load_connection(checkpoint)
    assert described.names == connection.names == ("global", "de", "sw")
    assert described.config == config
    assert (described.num_layers, described.hidden_size) == (LAYERS, HIDDEN)


def test_it_needs_no_torch(checkpoint: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from cc_core.description import read_description; "
        f"read_description(Path({str(checkpoint)!r})); "
        "print(sorted({'torch', 'transformers', 'vllm'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


def test_it_reads_no_matrix(checkpoint: Path) -> None:
    path = checkpoint / CONNECTION_FILE
    payload = bytearray(path.read_bytes())
    payload[-1] ^= 1
    path.write_bytes(payload)
    assert read_description(checkpoint).names == ("global", "de", "sw")
    with pytest.raises(CheckpointError, match="sha256 is"):
        load_connection(checkpoint)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_it_notices_a_truncated_file(checkpoint: Path, keep: int) -> None:
    path = checkpoint / CONNECTION_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=rf"{CONNECTION_FILE}: is truncated"):
        read_description(checkpoint)


def test_it_names_a_missing_file(checkpoint: Path) -> None:
    (checkpoint / CONNECTION_FILE).unlink()
    with pytest.raises(CheckpointError, match=rf"{CONNECTION_FILE}: cannot be read \(No such file"):
        read_description(checkpoint)


def test_it_tells_a_plain_model_apart(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path)
    with pytest.raises(PlainModelError, match="not a CC-Tuned checkpoint"):
        read_description(tmp_path)
