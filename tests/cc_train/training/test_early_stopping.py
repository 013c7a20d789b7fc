"""A run ends when its evaluations get no better, and keeps the best; and a run that trains nothing fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cc_train.commands.main import main
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


def train(base: Path, tmp_path: Path, *options: str) -> int:
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    where = ["--model", str(base), "--data", str(rows), "--output", str(tmp_path / "out")]
    return main(["run", *where, "--use-cpu", "--disable-tqdm", "true", "--method", "sft", *options])


def test_a_run_stops_when_its_evaluation_gets_no_better_and_keeps_the_best(base: Path, tmp_path: Path) -> None:
    """At this learning rate the loss soon gets worse: the best evaluation is not the last."""
    held = write_rows(tmp_path / "held.jsonl", word_rows(["sw"], copies=1))
    options = ("--eval-data", str(held), "--eval-strategy", "steps", "--eval-steps", "1", "--max-steps", "40")
    options += ("--learning-rate", "0.5", "--save-dtype", "float32", "--lr-scheduler-type", "constant")
    assert train(base, tmp_path, *options, "--early-stopping-patience", "2") == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    evaluations = {e["step"]: e["eval_loss"] for e in state["log_history"] if "eval_loss" in e}
    best = min(evaluations, key=evaluations.__getitem__)
    assert state["best_global_step"] == best == max(evaluations) - 2
    assert len(evaluations) < 40
    once = tmp_path / "once"
    once.mkdir()
    assert train(base, once, *options[6:], "--max-steps", str(best)) == 0
    kept, same = (load_file(place / "out" / "model.safetensors") for place in (tmp_path, once))
    assert all(torch.equal(value, same[name]) for name, value in kept.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dataloader-drop-last", "true", "--per-device-train-batch-size", "64"), "the run can make no step"),
        (("--learning-rate", "0"), "--learning-rate is 0, so nothing would be trained"),
        (("--num-train-epochs", "0"), "--num-train-epochs must be above 0"),
        (("--max-steps", "2", "--warmup-steps", "1000000", "--learning-rate", "1e-300"), None),
        (("--max-steps", "2", "--max-grad-norm", "0", "--lr-scheduler-type", "constant_with_warmup"), None),
    ],
)
def test_a_run_that_trains_nothing_fails(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], message: str | None
) -> None:
    code = train(base, tmp_path, *options)
    error = capsys.readouterr().err
    assert (code, (tmp_path / "out").exists()) == ((2, False) if message else (0, True))
    assert (message or "") in error


def test_the_only_step_of_a_run_trains(base: Path, tmp_path: Path) -> None:
    """transformers would warm up through all of it, with a learning rate of 0."""
    assert train(base, tmp_path, "--max-steps", "1", "--learning-rate", "0.01", "--save-dtype", "float32") == 0
    before, after = (load_file(place / "model.safetensors") for place in (base, tmp_path / "out"))
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--early-stopping-patience", "2"), "--early-stopping-patience needs --eval-data"),
        (("--load-best-model-at-end", "true"), "--load-best-model-at-end needs --eval-data"),
        (("--metric-for-best-model", "accuracy"), "--metric-for-best-model is loss"),
        (("--optim-args", "foo=1"), "--optim-args is not read by --optim adamw_torch_fused"),
        (("--optim-args", "foo=1", "--optim", "sgd"), "--optim-args has dampening, momentum, nesterov, weight_decay"),
        (("--optim", "adamw_bnb_8bit"), "bitsandbytes"),
        (("--deepspeed", "none.json"), "eepspeed"),
        (("--quantize-base", "4bit", "--tuning", "lora"), "--quantize-base 4bit needs a GPU"),
        (("--quantize-base", "4bit"), "--quantize-base needs --tuning lora"),
        (("--attention", "flash_attention_2"), "--attention flash_attention_2: "),
        (("--tuning", "lora", "--lora-target", "q_prj"), "linear layers: down_proj, gate_proj, k_proj"),
        (("--tuning", "lora", "--lora-dora", "true", "--lora-merge", "false"), "--lora-dora needs --lora-merge"),
        (("--lora-rslora", "true"), "--lora-rslora needs --tuning lora"),
        (("--packing", "true"), "unknown option --packing; here: no row is cut or filled up"),
        (("--group_by_length",), "here: --train-sampling-strategy group_by_length"),
        (("--cutoff-len", "9"), "here: --max-length"),
        (("--lora_r=8",), "here: --lora-rank"),
        (("--load_in_4bit",), "--quantize-base 4bit"),
    ],
)
def test_what_has_no_effect_or_is_missing_is_one_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], message: str
) -> None:
    assert train(base, tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", ["--lora-rslora true", "--lora-dora true", "--lora-target q_proj v_proj"])
def test_each_kind_of_adapter_trains_and_is_merged(base: Path, tmp_path: Path, options: str) -> None:
    settings = ("--tuning", "lora", "--max-steps", "3", "--learning-rate", "0.1", "--save-dtype", "float32")
    assert train(base, tmp_path, *settings, *options.split()) == 0
    before, after = (load_file(place / "model.safetensors") for place in (base, tmp_path / "out"))
    changed = {name.split(".")[-2] for name, value in before.items() if not torch.equal(value, after[name])}
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert changed == ({"q_proj", "v_proj"} if "--lora-target" in options else linear)


def test_the_attention_is_what_was_asked_for(base: Path) -> None:
    from cc_train.model.files import load_base

    for asked in ("eager", "sdpa"):
        assert load_base(str(base), captures=True, attention=asked)[0].config._attn_implementation == asked
