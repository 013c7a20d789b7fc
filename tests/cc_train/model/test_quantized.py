"""``cc-train attach`` on a quantised copy of a checkpoint, and ``cc-train fit`` on the result."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cc_core.checkpoint import load_connection, save_connection
from cc_core.description import read_description
from cc_core.files import CheckpointError
from cc_core.names import CONFIG_FILE, CONNECTION_FILE
from cc_train.commands.main import main
from cc_train.model.files import load_model
from cc_train.model.reference import Reference
from tests.cc_train.model.test_tuning import attach
from tests.support.quantizing import quantize
from tests.support.tiny import LAYERS, random_connection, tiny_llama, tiny_model
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = save_base(tmp_path_factory.mktemp("made") / "tiny", tiny_llama())
    save_connection(directory, random_connection(["global", "de"]), ["de", "fr"], {"base_model": "tiny"})
    return directory


@pytest.fixture(scope="module")
def quantized(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize(checkpoint, tmp_path_factory.mktemp("quantized") / "int8")


def test_the_connection_follows(checkpoint: Path, quantized: Path, tmp_path: Path) -> None:
    assert not (quantized / CONNECTION_FILE).exists()
    assert attach(quantized, checkpoint, tmp_path / "out") == 0
    connection, entry = load_connection(tmp_path / "out")
    original, expected = load_connection(checkpoint)
    assert torch.equal(connection.transforms["de"], original.transforms["de"])
    assert entry == expected
    config = json.loads((tmp_path / "out" / CONFIG_FILE).read_text())
    assert config["architectures"] == ["CCLlamaForCausalLM"]
    assert config["quantization_config"]["format"] == "int-quantized"
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (quantized / "model.safetensors").read_bytes()
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()
    answers = [
        Reference.from_checkpoint(path).generate(range(3, 40), "de", 8) for path in (tmp_path / "out", checkpoint)
    ]
    assert answers[0].logprobs != answers[1].logprobs, "its weights and activations are rounded"


def test_left_behind_it_is_asked_for(checkpoint: Path, quantized: Path, tmp_path: Path) -> None:
    """llm-compressor keeps the architecture's name, too."""
    copy = Path(shutil.copytree(quantized, tmp_path / "copy"))
    _edit(copy, lambda config: config.update(architectures=["CCLlamaForCausalLM"]))
    for read in (read_description, load_connection):
        with pytest.raises(CheckpointError, match=f"{CONNECTION_FILE}: is missing.* cc-train attach --model {copy} "):
            read(copy)
    assert attach(copy, checkpoint, tmp_path / "out") == 0


def test_its_matrices_are_fitted_on_the_quantised_model(checkpoint: Path, quantized: Path, tmp_path: Path) -> None:
    assert attach(quantized, checkpoint, tmp_path / "out") == 0
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    fitted = {}
    for name, directory in (("int8", tmp_path / "out"), ("fp32", checkpoint)):
        where = ["--output", str(tmp_path / name), "--use-cpu", "--disable-tqdm", "true"]
        assert main(["fit", str(directory), "--data", str(rows), *where]) == 0
        fitted[name] = load_connection(tmp_path / name)[0].transforms["global"]
    assert 0 < (fitted["int8"] - fitted["fp32"]).norm() / fitted["fp32"].norm() < 0.5
    config = json.loads((tmp_path / "int8" / CONFIG_FILE).read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"


def test_a_field_of_the_wrong_type_is_named_before_weights_are_read(quantized: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(quantized, tmp_path / "copy"))
    _groups_listed(copy, copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: field 'quantization_config\.config_groups'"):
        load_model(copy, torch.float32)


def _fitted_since(checkpoint: Path, quantized: Path) -> None:
    save_connection(checkpoint, random_connection(["global"], seed=1), ["de"])


def _without_entry(checkpoint: Path, quantized: Path) -> None:
    _edit(quantized, lambda config: config.pop("cc_connection"))


def _by_another_tool(checkpoint: Path, quantized: Path) -> None:
    _edit(quantized, lambda config: config["quantization_config"].update(quant_method="bitsandbytes"))


def _not_quantized(checkpoint: Path, quantized: Path) -> None:
    _edit(quantized, lambda config: config.pop("quantization_config"))


def _rotated(checkpoint: Path, quantized: Path) -> None:
    _edit(
        quantized, lambda config: config["quantization_config"].update(transform_config={"config_groups": {"R1": {}}})
    )


def _listed(checkpoint: Path, quantized: Path) -> None:
    _edit(quantized, lambda config: config.update(quantization_config=["int8"]))


def _groups_listed(checkpoint: Path, quantized: Path) -> None:
    _edit(quantized, lambda config: config["quantization_config"].update(config_groups=["group_0"]))


def _entry_listed(checkpoint: Path, quantized: Path) -> None:
    _edit(quantized, lambda config: config.update(cc_connection=["de"]))


def _adapter_apart(checkpoint: Path, quantized: Path) -> None:
    (checkpoint / "adapter").mkdir()


def _edit(directory: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((directory / CONFIG_FILE).read_text())
    change(config)
    (directory / CONFIG_FILE).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_fitted_since, "not quantised from this checkpoint, or before its matrices were fitted; quantise "),
        (_without_entry, "field 'cc_connection.sha256' is None"),
        (
            _by_another_tool,
            "field 'quantization_config.quant_method' is 'bitsandbytes'; quantise with compressed-tensors",
        ),
        (_not_quantized, "is a whole model, not a connection on its own"),
        (_rotated, "transform_config': the model's activations were rotated"),
        (_listed, "config.json: field 'quantization_config' must be an object"),
        (_groups_listed, "config.json: field 'quantization_config.config_groups': Input should be a valid dictionary"),
        (_entry_listed, "field 'cc_connection.sha256' is None"),
        (_adapter_apart, "not merged into the weights, .* --lora-merge true"),
    ],
)
def test_what_does_not_belong_together(
    checkpoint: Path,
    quantized: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    spoil: Callable[[Path, Path], None],
    message: str,
) -> None:
    mine, copy = shutil.copytree(checkpoint, tmp_path / "mine"), shutil.copytree(quantized, tmp_path / "copy")
    spoil(mine, copy)
    assert attach(copy, mine, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cc-train attach: ")
    assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_experts_that_the_tool_did_not_see(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = save_base(tmp_path / "base", tiny_model("Qwen3MoeForCausalLM"))
    save_connection(base, random_connection(["global"]), ["de"])
    hidden = quantize(base, tmp_path / "hidden")
    assert attach(hidden, base, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert (
        "config.json: field 'quantization_config' says that model.layers.0.mlp.experts.0.down_proj is quant" in message
    )
    ignored = json.loads('["lm_head", ' + message.rpartition("ignore': ")[2] + "]")
    _edit(hidden, lambda config: config["quantization_config"].update(ignore=ignored))
    assert attach(hidden, base, tmp_path / "out") == 0
    assert read_description(tmp_path / "out").num_layers == LAYERS
    # What an older attach let pass is refused before it is served.
    _edit(tmp_path / "out", lambda config: config["quantization_config"].update(ignore=["lm_head"]))
    with pytest.raises(CheckpointError, match="but its weight has no scale"):
        read_description(tmp_path / "out")
    with pytest.raises(CheckpointError, match="transformers cannot read experts beside quantised layers; name"):
        load_model(tmp_path / "out", torch.float32)


def test_quantised_weights_cannot_be_trained(quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    for tuning in ("full", "lora", "connection"):
        where = ["--data", str(rows), "--output", str(tmp_path / "out"), "--use-cpu", "--tuning", tuning]
        assert main(["run", "--model", str(quantized), *where]) == 2
        assert "is quantised, and such weights cannot be trained" in " ".join(capsys.readouterr().err.split())
