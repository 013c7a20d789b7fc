"""A run that was stopped ends in the bytes of one that was not, and a save that fails leaves the last good one."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cc_train.commands.main import main
from cc_train.fit.least_squares import FitError
from cc_train.training.stopping import StopCallback, Stopped
from cc_train.workspace import unfinished_checkpoints
from tests.support.disk import files_of_at_most
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, tiny_tokenizer, word_rows, write_rows

TUNINGS = {
    "full": (),
    "connection": ("--tuning", "connection"),
    "lora": ("--tuning", "lora", "--lora-dropout", "0.1"),
    "full, aligned": ("--align", "2"),
    "lora, aligned": ("--tuning", "lora", "--lora-dropout", "0.1", "--align", "2", "--method", "sft"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", word_rows())


def arguments(base: Path, rows: Path, output: Path, *options: str) -> list[str]:
    where = ["--model", str(base), "--data", str(rows), "--output", str(output), "--use-cpu", "--disable-tqdm", "true"]
    return ["run", *where, "--learning-rate", "3e-3", "--logging-steps", "1", *options]


def weights(directory: Path) -> dict[str, str]:
    """Digests: pytest would compare megabytes of different bytes for minutes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.safetensors")}


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM) -> None:
    """Send this process the signal while it computes a step."""
    train_step = "transformers.Trainer.training_step"
    from transformers import Trainer

    original, calls = Trainer.training_step, [0]

    def training_step(*args: object, **kwargs: object) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == step:
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(train_step, training_step)


@pytest.mark.parametrize("grouped", [False, True], ids=["random", "by length"])
@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_stopped_run_goes_on_to_the_same_bytes(
    tuning: str,
    grouped: bool,
    base: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """12 steps of 8 rows are an epoch and a half; the stop is in the second."""
    options = ["--max-steps", "12", *TUNINGS[tuning]]
    options += ["--train-sampling-strategy", "group_by_length"] if grouped else []
    assert main(arguments(base, rows, tmp_path / "whole", *options)) == 0
    given = arguments(base, rows, tmp_path / "stopped", *options)
    with monkeypatch.context() as patched:
        stop_after(patched, 10)
        assert main(given) == 128 + signal.SIGTERM
    checkpoint = unfinished_checkpoints(tmp_path / "stopped")[-1]
    assert checkpoint.name == "checkpoint-10"
    assert not (tmp_path / "stopped").exists()
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("cc-train run: stopped by SIGTERM; go on with: cc-train run ")
    command = shlex.split(message.partition(" with: cc-train ")[2])
    assert command == [*given, "--resume-from-checkpoint", str(checkpoint)]
    assert main(command) == 0
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole") != {}


def test_it_can_be_stopped_at_the_last_step_and_again_and_by_ctrl_c(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    options = ("--max-steps", "12")
    assert main(arguments(base, rows, tmp_path / "whole", *options)) == 0
    command = arguments(base, rows, tmp_path / "stopped", *options)
    for step, number in ((2, signal.SIGINT), (6, signal.SIGTERM), (4, signal.SIGTERM)):
        with monkeypatch.context() as patched:
            stop_after(patched, step, number)
            assert main(command) == 128 + number
        message = capsys.readouterr().err.splitlines()[-1]
        command = shlex.split(message.partition(" with: cc-train ")[2])
        assert command.count("--resume-from-checkpoint") == 1
    assert command[-1].endswith("checkpoint-12")
    assert main(command) == 0
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert "training loss 0.0000" not in capsys.readouterr().out


def test_outside_of_training_a_signal_ends_the_run_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped, StopCallback():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


UNHARMED = "import sys; from cc_train.commands.main import main; sys.exit(main(sys.argv[1:]))"
KILLED_WHILE_SAVING = """
import os, sys
from cc_train.commands.main import main
import cc_train.training.trainer as trainer
flush = trainer.flush

def die(directory):  # everything is written, nothing is renamed
    if directory.name == "checkpoint-4":
        os.kill(os.getpid(), 9)
    flush(directory)

trainer.flush = die
main(sys.argv[1:])
"""


def test_killed_while_it_saves_it_leaves_the_checkpoint_before(base: Path, rows: Path, tmp_path: Path) -> None:
    """All in processes of their own: what other tests loaded into this one, vLLM above all, changes sums."""

    def run(program: str, *given: str) -> int:
        return subprocess.run([sys.executable, "-c", program, *given], check=False, capture_output=True).returncode

    options = ("--max-steps", "6", "--save-strategy", "steps", "--save-steps", "2", "--save-total-limit", "1")
    given = arguments(base, rows, tmp_path / "killed", *options)
    assert run(UNHARMED, *arguments(base, rows, tmp_path / "whole", *options)) == 0
    assert run(KILLED_WHILE_SAVING, *given) == -signal.SIGKILL
    left = unfinished_checkpoints(tmp_path / "killed")
    assert [path.name for path in left] == ["checkpoint-2"]
    assert run(UNHARMED, *given, "--resume-from-checkpoint", str(left[0])) == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole") != {}


def test_a_full_disk_is_told_and_the_last_good_checkpoint_kept(base: Path, rows: Path, tmp_path: Path) -> None:
    """A limit on the size of a file fails a write as a full disk does."""
    options = ("--max-steps", "6", "--save-strategy", "steps", "--save-steps", "2")
    program = (
        "import resource, sys\n"
        "import cc_train.training.trainer as trainer\n"
        "flush = trainer.flush\n"
        "def fill(directory):\n"
        "    flush(directory)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "trainer.flush = fill\n"
        "from cc_train.commands.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    given = arguments(base, rows, tmp_path / "out", *options)
    failed = subprocess.run([sys.executable, "-c", program, *given], check=False, capture_output=True, text=True)
    assert failed.returncode == 2, failed.stderr
    message = failed.stderr.splitlines()[-1]
    left = unfinished_checkpoints(tmp_path / "out")
    assert [path.name for path in left] == ["checkpoint-2"]
    assert not (left[0].parent / ".saving").exists()
    assert "checkpoint-4 cannot be saved (" in message
    assert "MB are free there: make room" in message
    assert message.endswith(f"--resume-from-checkpoint {left[0]}")


def test_a_disk_that_is_full_at_the_end_is_told(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with files_of_at_most(100_000):
        assert main(arguments(base, rows, tmp_path / "out", "--max-steps", "1")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"--output {tmp_path / 'out'}: cannot be written (" in message
    assert message.endswith("MB are free there: make room")
    assert not list(tmp_path.iterdir()), "what fills the disk is removed"


@pytest.mark.parametrize("failure", [FitError("nothing determines it"), signal.SIGTERM], ids=["error", "signal"])
def test_what_fails_after_the_last_step_goes_on_from_there(
    failure: FitError | int,
    base: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    assert main(arguments(base, rows, tmp_path / "whole", "--max-steps", "4")) == 0

    def fail(*_args: object, **_options: object) -> None:
        if isinstance(failure, FitError):
            raise failure
        os.kill(os.getpid(), failure)

    with monkeypatch.context() as patched:
        patched.setattr("cc_train.training.run.fit_connection", fail)
        code = main(arguments(base, rows, tmp_path / "out", "--max-steps", "4"))
    assert code == (2 if isinstance(failure, FitError) else 143)
    message = capsys.readouterr().err.splitlines()[-1]
    command = shlex.split(message.partition(" with: cc-train ")[2])
    assert command[-1].endswith("checkpoint-4")
    assert main(command) == 0
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One row holds a token whose embedding is no number; the batches before it are good."""
    model = tiny_llama()
    (token,) = tiny_tokenizer()("~", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        model.model.embed_tokens.weight[token].fill_(torch.nan)
    spoilt = save_base(tmp_path / "base", model)
    some = word_rows()
    some[40]["instruction"] = "~"
    data = write_rows(tmp_path / "rows.jsonl", some)
    options = ("--train-sampling-strategy", "sequential", "--save-strategy", "steps", "--save-steps", "2")
    assert main(arguments(spoilt, data, tmp_path / "out", *options, "--max-steps", "8")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "the loss is nan at step 6, on " in message
    assert f"{data}:41 ({some[40]['id']})" in message
    left = unfinished_checkpoints(tmp_path / "out")
    assert [path.name for path in left] == ["checkpoint-2", "checkpoint-4"]
    assert f"go on with: cc-train run {shlex.join(['--model', str(spoilt)])}" in message
    assert message.endswith(f"--resume-from-checkpoint {left[-1]}")
    state = load_file(left[-1] / "cc_training.safetensors")
    assert all(value.isfinite().all() for name, value in state.items() if "embed" not in name)


def test_another_tunings_checkpoint_is_refused(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        assert main(arguments(base, rows, tmp_path / "out", "--max-steps", "4")) == 143
    (saved,) = unfinished_checkpoints(tmp_path / "out")
    options = ("--max-steps", "4", "--resume-from-checkpoint")
    assert main(arguments(base, rows, tmp_path / "out", *options, str(saved), "--tuning", "connection")) == 2
    assert "is of another --tuning, --method or model" in capsys.readouterr().err
    assert main(arguments(base, rows, tmp_path / "other", *options, str(tmp_path / "none"))) == 2
    assert "cc_training.safetensors: cannot be read" in capsys.readouterr().err


def test_a_run_that_is_aligned_computes_its_targets_once_and_refuses_those_of_other_rows(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    given = arguments(base, rows, tmp_path / "out", "--max-steps", "4", "--align", "1")
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        assert main(given) == 143
    (saved,) = unfinished_checkpoints(tmp_path / "out")
    others = write_rows(tmp_path / "others.jsonl", [row | {"instruction_en": row["output"]} for row in word_rows()])
    resume = ["--resume-from-checkpoint", str(saved)]
    capsys.readouterr()
    assert main([*given, "--data", str(others), *resume]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"cc-train run: {saved.parent}: holds the alignment targets of other rows; resume with")

    for other in ("0", "7"):
        assert main([*given, "--align", other, *resume]) == 2
        said = f"was saved with --align 1, and this run has --align {other}; resume with --align 1"
        assert said in capsys.readouterr().err

    def fail(*_args: object, **_options: object) -> None:
        raise AssertionError("the targets are there")

    monkeypatch.setattr("cc_train.training.assembly.english_batches", fail)
    assert main([*given, *resume]) == 0
    assert not list((tmp_path / "out").glob("alignment*"))
