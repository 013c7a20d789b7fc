"""``cc-train run --tuning lora`` and ``--tuning connection``, and ``cc-train attach``, as a user meets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from cc_core.checkpoint import load_alone, load_connection
from cc_core.standalone import weights_digest
from cc_train.commands.main import main
from cc_train.evaluation.local import LocalCheckpoint
from cc_train.model.adapter import merged
from cc_train.model.projection import load_projection
from tests.cc_train.commands.test_main import losses, train
from tests.support.disk import files_of_at_most
from tests.support.tiny import tiny_gemma3, tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

STEPS = ("--max-steps", "40", "--per-device-train-batch-size", "16", "--logging-steps", "8")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", word_rows())


@pytest.fixture(scope="module")
def alone(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A connection on its own."""
    output = tmp_path_factory.mktemp("alone") / "connection"
    assert train(base, rows, output, *STEPS, "--tuning", "connection", "--learning-rate", "3e-2") == 0
    return output


def attach(base: Path, connection: Path, output: Path, *options: str) -> int:
    where = ["--model", str(base), "--connection", str(connection), "--output", str(output)]
    return main(["attach", *where, *options])


def test_a_connection_alone_learns_and_leaves_no_model(alone: Path) -> None:
    loss = losses(alone)
    assert loss[-1] < loss[0]
    names = {path.name for path in alone.iterdir()}
    assert {"cc_connection.json", "cc_fit.json", "chat_template.jinja", "trainer_state.json"} <= names
    (weights,) = alone.glob("*.safetensors")
    assert weights.name == "cc_connection.safetensors"
    assert weights.stat().st_size < 100_000
    assert "config.json" not in names


def test_attached_it_is_the_base_with_the_connection(base: Path, alone: Path, tmp_path: Path) -> None:
    assert attach(base, alone, tmp_path / "out") == 0
    connection, entry = load_connection(tmp_path / "out")
    assert torch.equal(connection.decision, load_file(alone / "cc_connection.safetensors")["cc.decision.weight"])
    assert entry.languages == ("de", "fr")
    assert entry.model_extra is not None
    assert entry.model_extra["base"]["weights_sha256"] == weights_digest(base)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config.eos_token_id == [2, 6]
    assert (evidence := load_alone(alone)[1].evidence) is not None
    assert load_connection(tmp_path / "out")[1].evidence == evidence
    assert "cc-train attach" not in (card := (tmp_path / "out" / "README.md").read_text())
    assert "# out" in card
    assert (tmp_path / "out" / "report.html").is_file()
    assert attach(base, alone, tmp_path / "out") == 2, "it is not replaced unasked"
    assert attach(tmp_path / "out", alone, tmp_path / "again") == 0, "a connected model's weights are the base's"


def test_the_projection_it_was_trained_with_comes_along(base: Path, rows: Path, tmp_path: Path) -> None:
    options = ("--max-steps", "1", "--tuning", "connection", "--connection-scale", "0.3")
    assert train(base, rows, tmp_path / "alone", *options) == 0
    assert attach(base, tmp_path / "alone", tmp_path / "out") == 0
    mine, expected = (load_projection(tmp_path / name) for name in ("out", "alone"))
    assert mine is not None
    assert expected is not None
    assert torch.equal(mine, expected)
    _, entry = load_connection(tmp_path / "out")
    assert (entry.model_extra or {})["projected"] is True


def test_a_full_disk_is_told_and_nothing_left(
    base: Path, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with files_of_at_most(20_000):
        assert attach(base, alone, tmp_path / "out") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"--output {tmp_path / 'out'}: cannot be written (" in message
    assert message.endswith("MB are free there: make room")
    assert not list(tmp_path.iterdir())


def test_a_base_that_no_connection_can_be_kept_for_is_refused_before_training(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine = Path(shutil.copytree(base, tmp_path / "base"))
    torch.save(load_file(mine / "model.safetensors"), mine / "pytorch_model.bin")
    (mine / "model.safetensors").unlink()
    assert train(mine, rows, tmp_path / "out", "--max-steps", "1", "--tuning", "connection") == 2
    assert "holds no model*.safetensors" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path != mine], "nothing was begun"


def test_the_template_it_was_trained_with_comes_along(rows: Path, tmp_path: Path) -> None:
    plain = save_base(tmp_path / "base", tiny_llama(), template=None)
    (plain / "LICENSE.txt").write_text("terms")
    assert train(plain, rows, tmp_path / "alone", "--max-steps", "1", "--tuning", "connection") == 0
    assert (tmp_path / "alone" / "LICENSE.txt").read_text() == "terms"
    assert attach(plain, tmp_path / "alone", tmp_path / "out") == 0
    assert "Assistant:" in AutoTokenizer.from_pretrained(tmp_path / "out").chat_template


def test_a_digest_does_not_depend_on_the_files_but_on_every_weight(base: Path, tmp_path: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    names = sorted(tensors)
    save_file({n: tensors[n] for n in names[:5]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({n: tensors[n] for n in names[5:]}, tmp_path / "model-00002-of-00002.safetensors")
    assert weights_digest(tmp_path) == weights_digest(base)
    tensors[names[-1]].view(-1)[-1] += 1e-3
    save_file({n: tensors[n] for n in names[5:]}, tmp_path / "model-00002-of-00002.safetensors")
    assert weights_digest(tmp_path) != weights_digest(base)


def _other_weights(base: Path, alone: Path) -> None:
    save_base(base, tiny_llama(seed=1))


def _other_family(base: Path, alone: Path) -> None:
    save_base(base, tiny_gemma3())


def _no_weights(base: Path, alone: Path) -> None:
    (base / "model.safetensors").unlink()


def _cut_weights(base: Path, alone: Path) -> None:
    (base / "model.safetensors").write_bytes(b"\x10")


def _other_matrix(base: Path, alone: Path) -> None:
    tensors = load_file(alone / "cc_connection.safetensors")
    save_file({name: t + 1 for name, t in tensors.items()}, alone / "cc_connection.safetensors")


def _no_entry(base: Path, alone: Path) -> None:
    (alone / "cc_connection.json").unlink()


def _model_instead(base: Path, alone: Path) -> None:
    _no_entry(base, alone)
    shutil.copyfile(base / "config.json", alone / "config.json")


def _unnamed_base(base: Path, alone: Path) -> None:
    entry = json.loads((alone / "cc_connection.json").read_text())
    del entry["base"]["hidden_size"]
    (alone / "cc_connection.json").write_text(json.dumps(entry))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_weights, "was trained on another model: its weights' SHA-256 is "),
        (_other_family, "was trained on another model: its architecture is LlamaForCausalLM, that of "),
        (_no_weights, "holds no model*.safetensors"),
        (_cut_weights, "model.safetensors: is truncated or not safetensors"),
        (_other_matrix, "but cc_connection.json field 'sha256' says "),
        (_no_entry, "cc_connection.json: cannot be read (No such file or directory)"),
        (_model_instead, "is a whole model, not a connection on its own"),
        (_unnamed_base, "cc_connection.json: field 'base.hidden_size': Field required"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    spoil: Callable, message: str, base: Path, alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine, own = (Path(shutil.copytree(directory, tmp_path / directory.name)) for directory in (base, alone))
    spoil(mine, own)
    assert attach(mine, own, tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("cc-train attach: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_english_rows_are_left_out_of_a_connections_training(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", word_rows(["en", "de"], copies=1))
    assert train(base, data, tmp_path / "out", "--max-steps", "1", "--tuning", "connection") == 0
    assert "8 English rows are left out" in " ".join(capsys.readouterr().err.split())
    english = write_rows(tmp_path / "english.jsonl", word_rows(["en"], copies=1))
    assert train(base, english, tmp_path / "none", "--tuning", "connection") == 2


def test_a_merged_adapter_is_an_ordinary_checkpoint(base: Path, rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert train(base, rows, output, *STEPS, "--tuning", "lora", "--lora-rank", "4", "--learning-rate", "1e-2") == 0
    loss = losses(output)
    assert loss[-1] < 0.7 * loss[0]
    assert not (output / "adapter").exists()
    before, after = (load_file(directory / "model.safetensors") for directory in (base, output))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name].bfloat16(), after[name])}
    linear = {n for n in before if n.endswith("_proj.weight")}
    assert changed == linear
    load_connection(output)


def test_an_adapter_kept_beside_the_base_makes_the_merged_model(base: Path, rows: Path, tmp_path: Path) -> None:
    options = ("--max-steps", "8", "--tuning", "lora", "--save-dtype", "float32", "--learning-rate", "1e-2")
    assert train(base, rows, tmp_path / "merged", *options) == 0
    assert train(base, rows, tmp_path / "beside", *options, "--no-lora-merge") == 0
    plain, expected = (load_file(d / "model.safetensors") for d in (base, tmp_path / "merged"))
    kept = load_file(tmp_path / "beside" / "model.safetensors")
    assert all(torch.equal(kept[name], plain[name]) for name in plain)
    model = merged(AutoModelForCausalLM.from_pretrained(tmp_path / "beside"), tmp_path / "beside" / "adapter")
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    names = load_file(tmp_path / "beside" / "adapter" / "adapter_model.safetensors")
    assert "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight" in names
    assert all("lm_head" not in name for name in names)
    fits = [json.loads((tmp_path / name / "cc_fit.json").read_text()) for name in ("merged", "beside")]
    assert fits[0] == fits[1], "it is fitted on what is served"
    evaluated = [LocalCheckpoint(tmp_path / name, "off", 4, 4) for name in ("merged", "beside")]
    for name, value in evaluated[1].model.state_dict().items():
        assert torch.equal(value, evaluated[0].model.state_dict()[name]), f"{name} is evaluated without the adapter"
    other = Path(shutil.copytree(tmp_path / "beside", tmp_path / "other"))
    adapter = load_file(other / "adapter" / "adapter_model.safetensors")
    save_file({name: 2 * value for name, value in adapter.items()}, other / "adapter" / "adapter_model.safetensors")
    assert LocalCheckpoint(other, "off", 4, 4).system()["checkpoint"] != evaluated[1].system()["checkpoint"]
    assert train(tmp_path / "beside", rows, tmp_path / "again", "--max-steps", "1", "--learning-rate", "1e-30") == 0
    found = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(found[name], expected[name].bfloat16()) for name in found), "it is trained without it"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--tuning", "connection", "--method", "sft"],
            "--tuning connection trains a connection, and --method sft has none",
        ),
        (["--tuning", "connection", "--gradient-checkpointing"], "--gradient-checkpointing saves nothing with"),
        (["--tuning", "lora", "--lora-rank", "0"], "--lora-rank must be at least 1"),
        (["--lora-rank", "8"], "--lora-rank needs --tuning lora"),
        (["--lora-alpha", "8"], "--lora-alpha needs --tuning lora"),
        (["--lora-dropout", "0.1"], "--lora-dropout needs --tuning lora"),
        (["--lora-merge", "false"], "--lora-merge needs --tuning lora"),
        (["--early-stopping-threshold", "0.1"], "--early-stopping-threshold needs --early-stopping-patience"),
        (["--hub-model-id", "a/b"], "--hub-model-id needs --push-to-hub"),
        (["--eval-task", "mkqa"], "--eval-task needs --eval-generate"),
        (["--eval-max-tokens", "3"], "--eval-max-tokens needs --eval-generate"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train(base, rows, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
