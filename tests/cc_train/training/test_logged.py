"""The log has the loss of every step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cc_train.commands.main import main
from cc_train.training.logged import mean_loss
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


def train(base: Path, output: Path, *options: str) -> list[dict[str, float]]:
    """The log history of a run."""
    rows = write_rows(output.with_name("rows.jsonl"), word_rows(copies=1))
    where = ["--model", str(base), "--data", str(rows), "--output", str(output)]
    assert main(["run", *where, "--use-cpu", "--disable-tqdm", "true", "--method", "sft", *options]) == 0
    history: list[dict[str, float]] = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return history


def losses(history: list[dict[str, float]]) -> dict[int, float]:
    return {int(entry["step"]): entry["loss"] for entry in history if "loss" in entry}


def test_the_loss_of_a_run_is_that_of_all_its_steps(base: Path, tmp_path: Path) -> None:
    every = losses(train(base, tmp_path / "every", "--max-steps", "7", "--logging-steps", "1"))
    some = losses(train(base, tmp_path / "some", "--max-steps", "7", "--logging-steps", "3"))
    assert list(some) == [3, 6, 7]
    assert some[7] == pytest.approx(every[7], abs=1e-4)
    facts = json.loads((tmp_path / "some" / "cc_run.json").read_text())
    assert facts["training_loss"] == pytest.approx(sum(every.values()) / 7, abs=1e-3)


def test_an_evaluation_has_the_training_loss_of_its_step_beside_it(base: Path, tmp_path: Path) -> None:
    held = write_rows(tmp_path / "held.jsonl", word_rows(["sw"], copies=1))
    options = ("--max-steps", "5", "--logging-steps", "4", "--eval-data", str(held), "--eval-strategy", "steps")
    history = train(base, tmp_path / "out", *options, "--eval-steps", "3")
    assert list(losses(history)) == [3, 4, 5]
    silent = train(base, tmp_path / "silent", *options, "--eval-steps", "3", "--logging-strategy", "no")
    assert not losses(silent)


def test_steps_that_nothing_logged_count(base: Path, tmp_path: Path) -> None:
    """As when a run is stopped, which logs, and goes on without a log."""
    every = losses(train(base, tmp_path / "every", "--max-steps", "5", "--logging-steps", "1"))
    silent = ("--logging-strategy", "no", "--logging-first-step", "true")
    assert list(losses(train(base, tmp_path / "silent", "--max-steps", "5", *silent))) == [1]
    facts = json.loads((tmp_path / "silent" / "cc_run.json").read_text())
    assert facts["training_loss"] == pytest.approx(sum(every.values()) / 5, abs=1e-3)
    assert mean_loss([{"step": 2, "loss": 3.0}, {"step": 5, "train_loss": 2.0}], 2, 5, 2.0) == (2 * 3 + 3 * 2) / 5
