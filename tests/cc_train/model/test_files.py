"""What is read of a base model, and what is written of a trained one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cc_train.config.parser import UsageError
from cc_train.model.adapter import Adapter
from cc_train.model.files import load_base, save_adapted
from cc_train.two_pass.answer_loss import chunk_size
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama, tiny_model
from tests.support.tiny_tokenizer import save_base, tiny_tokenizer


def connected(directory: Path) -> Path:
    save_checkpoint(directory, tiny_llama(), random_connection(["global", "de"]), ["de"])
    tiny_tokenizer().save_pretrained(directory)
    return directory


def test_a_connected_base_gives_its_connection_to_no_adapted_model(tmp_path: Path) -> None:
    base = connected(tmp_path / "base")
    model, _ = load_base(str(base), captures=False)
    adapter = Adapter(model, rank=2)
    (tmp_path / "out").mkdir()
    save_adapted(str(base), adapter, dict(model.state_dict()), tmp_path / "out", torch.float32, merge=True)
    assert "cc_connection" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_the_loss_of_a_connected_base_is_chunked_as_its_bases(tmp_path: Path) -> None:
    model, _ = load_base(str(connected(tmp_path / "base")), captures=True)
    labels = torch.full((1, 8), 5)
    assert chunk_size(model, 2, labels) == 2


def test_an_attention_that_caps_no_scores_is_what_is_wrong(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_model("Gemma2ForCausalLM"))
    with pytest.raises(
        UsageError, match=r"^--attention sdpa does not cap attention scores, as this model does; use eager"
    ):
        load_base(str(base), captures=True, attention="sdpa")


def test_a_base_that_lacks_weights_is_named_once(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    weights = load_file(base / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if "layers.0.mlp" not in name},
        base / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(UsageError, match=f"^--model {base}: holds no weights for .*; copy it again"):
        load_base(str(base), captures=True)
