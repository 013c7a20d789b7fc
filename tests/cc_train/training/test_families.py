"""``cc-train run`` on a tiny model of every family: a step of each kind of tuning, and the fit after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cc_core.architectures import CC_PREFIX, FAMILIES
from cc_core.checkpoint import load_alone, load_connection
from tests.cc_train.commands.test_main import train
from tests.support.tiny import tiny_model
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

EVERY_FAMILY = pytest.mark.parametrize("architecture", FAMILIES)
ONE_STEP = ("--max-steps", "1", "--per-device-train-batch-size", "4")


def run(architecture: str, tuning: str, directory: Path) -> Path:
    """The output of a run of one step."""
    base = save_base(directory / "base", tiny_model(architecture))
    rows = write_rows(directory / "rows.jsonl", word_rows(copies=1))
    assert train(base, rows, directory / "out", *ONE_STEP, "--tuning", tuning) == 0
    return directory / "out"


def changed(directory: Path) -> set[str]:
    """The weights of the model that are no longer the base's."""
    before, after = (load_file(path / "model.safetensors") for path in (directory.with_name("base"), directory))
    assert before.keys() == after.keys()
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


@pytest.mark.shows("full")
@EVERY_FAMILY
def test_every_weight_is_trained(architecture: str, tmp_path: Path) -> None:
    output = run(architecture, "full", tmp_path)
    assert json.loads((output / "config.json").read_text())["architectures"] == [CC_PREFIX + architecture]
    assert load_connection(output)[0].names == ("global",)
    buffers = {name for name, _ in tiny_model(architecture).named_buffers()}
    assert changed(output) - buffers == load_file(output / "model.safetensors").keys() - buffers


@pytest.mark.shows("lora")
@EVERY_FAMILY
def test_an_adapter_is_trained_and_merged(architecture: str, tmp_path: Path) -> None:
    output = run(architecture, "lora", tmp_path)
    assert load_connection(output)[0].names == ("global",)
    assert any("self_attn" in name for name in changed(output))


@pytest.mark.shows("connection")
@EVERY_FAMILY
def test_the_connection_alone_is_trained(architecture: str, tmp_path: Path) -> None:
    connection = load_alone(run(architecture, "connection", tmp_path))[0]
    assert connection.names == ("global",)
    assert connection.decision.abs().sum() > 0
