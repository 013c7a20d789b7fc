"""Answers are generated and scored during training, connected as the evaluation's loss is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cc_train.commands.main import main
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import WORDS, save_base, word_rows, write_rows

EVERY = ("--eval-strategy", "steps", "--eval-steps")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


def train(base: Path, output: Path, *options: str, task: str = "mkqa") -> int:
    rows = [row | {"task": task} for row in word_rows(["de", "fr"])]
    data = write_rows(output.with_suffix(".jsonl"), rows)
    held = write_rows(output.with_suffix(".held.jsonl"), [row for row in rows if row["id"].endswith("-0")])
    where = ["--model", str(base), "--data", str(data), "--eval-data", str(held), "--output", str(output)]
    course = ["--learning-rate", "3e-3", "--per-device-train-batch-size", "16", "--save-dtype", "float32"]
    return main(["run", *where, *course, "--use-cpu", "--disable-tqdm", "true", *options])


def evaluations(output: Path) -> list[dict[str, float]]:
    state = json.loads((output / "trainer_state.json").read_text())
    return [entry for entry in state["log_history"] if "eval_loss" in entry]


def test_scores_are_those_of_an_evaluation_with_the_true_english_activations(base: Path, tmp_path: Path) -> None:
    """The answer is one of 8 words that only the English prompt holds: without it, one in 8 is right at best."""
    options = ("--max-steps", "200", *EVERY, "100", "--eval-generate", "8", "--eval-max-tokens", "4")
    assert train(base, tmp_path / "cc", *options) == 0
    assert train(base, tmp_path / "sft", *options, "--method", "sft") == 0
    last = evaluations(tmp_path / "cc")[-1]
    assert last["eval_score"] == last["eval_mkqa"] == (last["eval_mkqa_de"] + last["eval_mkqa_fr"]) / 2
    assert last["eval_score"] > 0.9
    assert evaluations(tmp_path / "sft")[-1]["eval_score"] <= 1 / len(WORDS)
    asked = ["--data", str(tmp_path / "cc.held.jsonl"), "--max-tokens", "4", "--connection", "english"]
    assert main(["eval", "--checkpoint", str(tmp_path / "cc"), *asked, "--output", str(tmp_path / "eval")]) == 0
    scopes = json.loads((tmp_path / "eval" / "figures.json").read_text())["tasks"]["mkqa"]["scopes"]
    assert {lang: scopes[lang]["judged"]["mean"] for lang in ("de", "fr")} == last["scores_by_task"]["mkqa"]
    assert "Score of generated answers" in (tmp_path / "cc" / "report.html").read_text()
    assert (tmp_path / "cc" / "report" / "scores_by_task.png").stat().st_size > 1000


def test_the_score_stops_the_run_and_keeps_its_best(base: Path, tmp_path: Path) -> None:
    """Rows of a task that is not known are scored as the one that is named; few of them are asked."""
    options = (*EVERY, "20", "--eval-generate", "4", "--eval-task", "mkqa", "--eval-max-tokens", "3")
    best = ("--early-stopping-patience", "2", "--metric-for-best-model", "score")
    assert train(base, tmp_path / "out", "--max-steps", "400", *options, *best, task="spelling") == 0
    found = {int(entry["step"]): entry["eval_score"] for entry in evaluations(tmp_path / "out")}
    assert len(found) < 20
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["best_global_step"] == max(found, key=found.__getitem__) == max(found) - 40
    assert state["best_metric"] == max(found.values()) > 0.5
    assert all(score * 8 == int(score * 8) for score in found.values())  # 4 items in 2 languages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--eval-generate", "0", *EVERY, "2"), "--eval-generate must be at least 1"),
        ((*EVERY, "2", "--metric-for-best-model", "score"), "--metric-for-best-model score needs --eval-generate"),
        ((*EVERY, "2", "--eval-generate", "2"), "no row of --eval-data has a task that can be scored (xnli, "),
        ((*EVERY, "2", "--eval-generate", "2", "--eval-task", "mkqq"), "--eval-task mkqq: there are: xnli, "),
        ((*EVERY, "2", "--predict-with-generate", "true"), "here: --eval-generate N"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], message: str
) -> None:
    assert train(base, tmp_path / "out", "--max-steps", "2", *options, task="spelling") == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
