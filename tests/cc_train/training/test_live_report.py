"""A run can be watched: its report is written while it goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from cc_train.commands.main import main
from cc_train.training import live_report
from cc_train.training.live_report import LiveReport
from cc_train.workspace import partial_directory
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


def test_the_report_shows_the_steps_so_far_and_says_how_far_the_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(live_report, "EVERY", 0.0)
    monkeypatch.setattr(live_report, "SHARE", 0)
    pages: list[str] = []

    def written(directory: Path, name: str, *, running: bool) -> Path:
        path = write_report(directory, name, running=running)
        pages.append(path.read_text("utf-8"))
        return path

    write_report = live_report.write_report
    monkeypatch.setattr(live_report, "write_report", written)
    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    output = tmp_path / "out"
    options = ("--max-steps", "3", "--logging-steps", "1", "--use-cpu", "--disable-tqdm", "true", "--method", "sft")
    assert main(["run", "--model", str(base), "--data", str(rows), "--output", str(output), *options]) == 0
    assert [re.search(r"Step \d of \d", page)[0] for page in pages[:3]] == ["Step 1 of 3", "Step 2 of 3", "Step 3 of 3"]  # type: ignore[index]
    assert all("<h1>out</h1>" in page and 'http-equiv="refresh"' in page for page in pages)
    said = "".join(capsys.readouterr().err.split())
    assert said.count("Watchtherun") == 1
    assert str(partial_directory(output) / "report.html") in said
    finished = (output / "report.html").read_text("utf-8")
    assert "Step" not in finished
    assert "refresh" not in finished


def test_reports_are_seldom_and_an_error_ends_only_them(tmp_path: Path) -> None:
    state = TrainerState(global_step=1, max_steps=9, log_history=[{"step": 1, "loss": 2.0}])
    arguments, control = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerControl()
    said: list[str] = []
    patient = LiveReport(tmp_path, "mine", said.append)
    patient.on_log(arguments, state, control)
    assert not list(tmp_path.glob("report*"))
    failing = LiveReport(tmp_path / "missing", "mine", said.append, every=0.0)
    failing.on_log(arguments, state, control)
    failing.on_log(arguments, state, control)
    assert len(said) == 1
    assert "The report cannot be written while the run goes on" in said[0]
    state.is_world_process_zero = False
    LiveReport(tmp_path, "mine", said.append, every=0.0).on_log(arguments, state, control)
    assert not list(tmp_path.glob("report*"))
