"""Two processes on the CPU train as one does with twice the batch, and write a checkpoint that loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cc_core.checkpoint import load_connection
from cc_train.commands.main import main
from cc_train.workspace import unfinished_checkpoints
from tests.cc_train.training.test_resume import stop_after
from tests.cc_train.training.worker import without_noise
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import WORDS, save_base, write_rows

RECIPES = ROOT / "recipes" / "parallel"
DEEPSPEED = ROOT / ".tools" / "deepspeed"
STEPS = 12


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of 1 to 8 words: what weighs each process's or micro-batch's mean alike is wrong by far."""
    some = [
        {
            "lang": language,
            "instruction": f"Sag {word}",
            "instruction_en": f"Say {word}",
            "output": " ".join([word] * (1 + (3 * i) % 8)),
        }
        for language in ("de", "fr", "en")
        for i, word in enumerate(WORDS * 2)
    ]
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", some)


def arguments(base: Path, rows: Path, output: Path, rows_at_once: int, *options: str) -> list[str]:
    where = ["--model", str(base), "--data", str(rows), "--output", str(output), "--use-cpu", "--disable-tqdm", "true"]
    course = ["--learning-rate", "3e-3", "--logging-steps", "1", "--max-steps", str(STEPS), "--save-dtype", "float32"]
    return ["run", *where, *course, "--per-device-train-batch-size", str(rows_at_once), *options]


def in_processes(
    recipe: str, given: list[str], processes: int = 2, **environment: str
) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(RECIPES / recipe)]
    where = ["--num_processes", str(processes), "--main_process_port", str(free_port())]
    if recipe == "zero3.yaml":
        where += ["--mixed_precision", "no"]
        environment |= {"PYTHONPATH": str(DEEPSPEED), "DS_ACCELERATOR": "cpu"}
    return subprocess.run(
        [*launcher, *where, "--module", "tests.cc_train.training.worker", *given],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,  # processes that wait for one another do so for ever
    )


def logged(directory: Path, name: str) -> list[float]:
    history = json.loads((directory / "trainer_state.json").read_text())["log_history"]
    return [entry[name] for entry in history if name in entry]


def losses(directory: Path) -> list[float]:
    return logged(directory, "loss")


@pytest.fixture(scope="module")
def one(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of 8 rows at once."""
    output = tmp_path_factory.mktemp("one") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cc_train.two_pass.model.sample_layer", without_noise)
        assert main(arguments(base, rows, output, 8)) == 0
    return output


def check_same(found: Path, expected: Path, *, connected: bool = True) -> None:
    assert len(losses(expected)) == STEPS
    assert losses(expected)[-1] < 0.9 * losses(expected)[0]
    assert losses(found) == pytest.approx(losses(expected), rel=2e-3)
    weights, known = (load_file(directory / "model.safetensors") for directory in (found, expected))
    assert weights.keys() == known.keys()
    for name, value in known.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=2e-3, msg=name)
    if connected:
        assert torch.allclose(load_connection(found)[0].decision, load_connection(expected)[0].decision, atol=2e-3)


def test_copies_in_two_processes_train_as_one_with_twice_the_batch(
    base: Path, rows: Path, one: Path, tmp_path: Path
) -> None:
    options = ("--loss-chunk", "3", "--padding-free", "true")
    done = in_processes("ddp.yaml", arguments(base, rows, tmp_path / "out", 4, *options))
    assert done.returncode == 0, done.stderr[-4000:]
    check_same(tmp_path / "out", one)


@pytest.mark.parametrize("recipe", ["fsdp.yaml", "zero3.yaml"])
def test_shards_in_two_processes_do_too_and_after_one_of_them_was_told_to_stop(
    recipe: str, base: Path, rows: Path, one: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if recipe == "zero3.yaml" and not DEEPSPEED.exists():
        pytest.skip("`make deepspeed` has not fetched DeepSpeed")
    given = arguments(base, rows, tmp_path / "out", 4, "--loss-chunk", "3", "--padding-free", "true")
    stopped = in_processes(recipe, given, STOP_AT="5")
    assert stopped.returncode != 0
    (saved,) = unfinished_checkpoints(tmp_path / "out")
    assert saved.name == "checkpoint-5"
    assert "stopped by SIGTERM; go on, with the same launcher, with: cc-train run " in stopped.stderr
    alone = arguments(base, rows, tmp_path / "out", 8, "--resume-from-checkpoint", str(saved))
    capsys.readouterr()
    assert main(alone) == 2
    assert "and this run has the whole model in each process; resume with the launcher" in capsys.readouterr().err
    stops = {"STOP_AT": "8"} if recipe == "fsdp.yaml" else {}
    other = in_processes(recipe, alone, processes=1, **stops)
    assert other.returncode != 0
    if recipe == "fsdp.yaml":
        saved = unfinished_checkpoints(tmp_path / "out")[-1]
        assert saved.name == "checkpoint-8"
    else:
        assert "DeepSpeed reads its shards only on as many processes as wrote them; resume on 2 proc" in other.stderr
    done = in_processes(recipe, [*given, "--resume-from-checkpoint", str(saved)])
    assert done.returncode == 0, done.stderr[-4000:]
    check_same(tmp_path / "out", one)


def test_copies_go_on_in_one_process_and_in_two(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """In an order by length, which neither the processes nor the micro-batches may change."""
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    by_length = ("--train-sampling-strategy", "group_by_length")
    assert main(arguments(base, rows, tmp_path / "whole", 8, *by_length)) == 0
    two = arguments(base, rows, tmp_path / "two", 4, *by_length)
    assert in_processes("ddp.yaml", two, STOP_AT="5").returncode != 0
    (saved,) = unfinished_checkpoints(tmp_path / "two")
    resume = ("--resume-from-checkpoint", str(saved))
    capsys.readouterr()
    assert main([*two, *resume]) == 2
    assert "a step had 8 rows, and has 4 now; pass --gradient-accumulation-steps 2" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        stop_after(patched, 2 * (8 - 5))
        assert main([*two, *resume, "--gradient-accumulation-steps", "2"]) == 143
    saved = unfinished_checkpoints(tmp_path / "two")[-1]
    assert saved.name == "checkpoint-8"
    done = in_processes("ddp.yaml", [*two, "--resume-from-checkpoint", str(saved)])
    assert done.returncode == 0, done.stderr[-4000:]
    check_same(tmp_path / "two", tmp_path / "whole")


@pytest.mark.parametrize("recipe", ["ddp.yaml", "fsdp.yaml", "zero3.yaml"])
def test_a_process_whose_rows_are_all_english_keeps_step(
    recipe: str, base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if recipe == "zero3.yaml" and not DEEPSPEED.exists():
        pytest.skip("`make deepspeed` has not fetched DeepSpeed")
    done = in_processes(recipe, arguments(base, rows, tmp_path / "out", 1, "--connection-scale", "0.3"))
    assert done.returncode == 0, done.stderr[-4000:]
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    assert main(arguments(base, rows, tmp_path / "one", 2, "--connection-scale", "0.3")) == 0
    check_same(tmp_path / "out", tmp_path / "one")


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parallel prompts without answers."""
    some = [{"en": f"Is it {word}?", "de": f"Ist es {word}?"} for word in WORDS]
    return write_rows(tmp_path_factory.mktemp("unlabelled") / "rows.jsonl", some)


@pytest.mark.parametrize(("recipe", "method"), [("ddp.yaml", "sft"), ("fsdp.yaml", "cc"), ("zero3.yaml", "cc")])
def test_aligned_in_two_processes_is_aligned_in_one_and_goes_on_after_a_stop(
    recipe: str,
    method: str,
    base: Path,
    rows: Path,
    unlabelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if recipe == "zero3.yaml" and not DEEPSPEED.exists():
        pytest.skip("`make deepspeed` has not fetched DeepSpeed")
    options = ("--align", "0.5", "--align-data", str(unlabelled), "--method", method)
    given = arguments(base, rows, tmp_path / "out", 2, *options)
    assert in_processes(recipe, given, STOP_AT="5").returncode != 0
    (saved,) = unfinished_checkpoints(tmp_path / "out")
    done = in_processes(recipe, [*given, "--resume-from-checkpoint", str(saved)])
    assert done.returncode == 0, done.stderr[-4000:]
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    accumulated = ("--gradient-accumulation-steps", "2", *options)
    assert main(arguments(base, rows, tmp_path / "one", 2, *accumulated)) == 0
    check_same(tmp_path / "out", tmp_path / "one", connected=method == "cc")
    found, known = (logged(tmp_path / name, "alignment") for name in ("out", "one"))
    assert found == pytest.approx(known, rel=2e-3)
    assert len(known) == STEPS
    assert min(known) > 0.01


def test_two_processes_share_the_answers_that_are_scored(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An odd number of rows. Both load the best checkpoint in the end."""
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    every = ("--max-steps", "40", "--eval-data", str(rows), "--eval-strategy", "steps", "--eval-steps", "20")
    scored = ("--eval-generate", "3", "--eval-task", "xlsum", "--eval-max-tokens", "9")
    options = (*every, *scored, "--metric-for-best-model", "score", "--early-stopping-patience", "1")
    done = in_processes("ddp.yaml", arguments(base, rows, tmp_path / "two", 4, *options))
    assert done.returncode == 0, done.stderr[-4000:]
    assert main(arguments(base, rows, tmp_path / "one", 8, *options)) == 0
    assert len(logged(tmp_path / "one", "eval_score")) == 2
    assert logged(tmp_path / "one", "eval_score")[-1] > 0.8
    for name in ("eval_score", "eval_xlsum_de", "eval_xlsum_fr", "eval_xlsum_en"):
        found, expected = (logged(tmp_path / processes, name) for processes in ("two", "one"))
        assert found == pytest.approx(expected, abs=0.1), name  # a word more or less


def test_micro_batches_train_as_one_batch(
    base: Path, rows: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    assert main(arguments(base, rows, tmp_path / "out", 2, "--gradient-accumulation-steps", "4")) == 0
    check_same(tmp_path / "out", one)


def test_bf16_with_gradient_checkpointing_follows_fp32(
    base: Path, rows: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    options = ("--bf16", "true", "--gradient-checkpointing", "true")
    assert main(arguments(base, rows, tmp_path / "out", 8, *options)) == 0
    assert losses(tmp_path / "out") != losses(one)
    assert losses(tmp_path / "out") == pytest.approx(losses(one), rel=0.1)


@pytest.mark.parametrize("recipe", sorted(path.name for path in RECIPES.glob("*.yaml")))
def test_accelerate_reads_every_recipe(recipe: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(RECIPES / recipe)).num_processes == 8
