"""A run goes on with the model and the rows that it would have had, however they are divided, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cc_train.commands.main import main
from cc_train.workspace import unfinished_checkpoints
from tests.cc_train.training.test_distributed import losses
from tests.cc_train.training.test_resume import TUNINGS, arguments, stop_after
from tests.cc_train.training.worker import without_noise
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

STEPS = ("--max-steps", "10")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows: 8 steps an epoch, or 7 if the last one, of 4 rows, is dropped."""
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", word_rows()[:60])


@pytest.fixture(scope="module")
def stopped(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run of 10 steps of 8 rows, which was stopped at step 3, would have written."""
    output = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cc_train.two_pass.model.sample_layer", without_noise)
        stop_after(patched, 3)
        assert main(arguments(base, rows, output, *STEPS)) == 143
    return output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--per-device-train-batch-size 4", "a step had 8 rows, and has 4 now; pass --gradient-accumulation-steps 2"),
        (
            "--per-device-train-batch-size 3",
            "a step had 8 rows, and has 3 now; pass --per-device-train-batch-size 8 --gradient-accumulation-steps 1",
        ),
        ("--max-rows 40", "60 rows were trained on, and this run has 40; resume with the same --data"),
        ("--data-seed 5", "the order of rows is another; resume with --data-seed 42 --train-sampling-strategy random"),
        ("--train-sampling-strategy sequential", "the order of rows is another; resume with --data-seed 42"),
        ("--dataloader-drop-last true", "an epoch had 8 steps, and has 7 now; resume on 1 process"),
    ],
)
def test_other_rows_are_refused_in_a_line_that_says_what_to_pass(
    options: str, message: str, base: Path, rows: Path, stopped: Path, capsys: pytest.CaptureFixture
) -> None:
    (saved,) = unfinished_checkpoints(stopped)
    given = arguments(base, rows, stopped, *STEPS, *options.split(), "--resume-from-checkpoint", str(saved))
    assert main(given) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"cc-train run: --resume-from-checkpoint {saved}: {message}")
    assert unfinished_checkpoints(stopped) == [saved]


def test_the_same_rows_in_micro_batches_go_on(
    base: Path, rows: Path, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_train.two_pass.model.sample_layer", without_noise)
    assert main(arguments(base, rows, tmp_path / "whole", *STEPS)) == 0
    (saved,) = unfinished_checkpoints(stopped)
    divided = ("--per-device-train-batch-size", "2", "--gradient-accumulation-steps", "4")
    output = tmp_path / "out"
    assert main(arguments(base, rows, output, *STEPS, *divided, "--resume-from-checkpoint", str(saved))) == 0
    assert losses(output) == pytest.approx(losses(tmp_path / "whole"), rel=2e-3)
    assert len(losses(output)) == 10


@pytest.mark.parametrize("tuning", ["full", "lora, aligned"])
def test_another_model_of_the_same_shape_is_refused(
    tuning: str, base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    options = ("--max-steps", "4", *TUNINGS[tuning])
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        assert main(arguments(base, rows, tmp_path / "out", *options)) == 143
    (saved,) = unfinished_checkpoints(tmp_path / "out")
    resume = (*options, "--resume-from-checkpoint", str(saved))
    other = save_base(tmp_path / "base", tiny_llama(seed=1))
    assert main(arguments(other, rows, tmp_path / "out", *resume)) == 2
    message = "was trained from a model with other weights; resume with the --model that the run began with"
    assert message in capsys.readouterr().err
    moved = shutil.copytree(base, tmp_path / "moved")
    assert main(arguments(moved, rows, tmp_path / "out", *resume)) == 0
