"""The commands as they are typed, on a tiny checkpoint in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cc_core.checkpoint import save_connection
from cc_train.commands.main import main
from cc_train.evaluation import local
from cc_train.evaluation.answer_file import ANSWERS_FILE
from tests.support.ports import free_port
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base, write_rows

REFERENCES = {"xnli": "1", "mkqa": "alpha", "xlsum": "alpha beta", "mgsm": "3"}
ROWS = [
    {
        "id": str(number),
        "task": task,
        "lang": language,
        "instruction": f"{language} {task} {number}?",
        "instruction_en": f"{task} {number}?",
        "answers": [reference],
    }
    for task, reference in REFERENCES.items()
    for language in ("de", "en")
    for number in range(3)
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("evaluated") / "tiny"
    save_base(directory, tiny_llama())
    save_connection(directory, random_connection(["global", "de"]), ["de"])
    return directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", ROWS)


def evaluate(checkpoint: Path, data: Path, output: Path, *more: str) -> int:
    common = ["--data", str(data), "--output", str(output), "--max-tokens", "4"]
    return main(["eval", "--checkpoint", str(checkpoint), *common, *more])


def test_evaluate_twice_and_compare(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    auto, off, compared = tmp_path / "auto", tmp_path / "off", tmp_path / "compared"
    assert evaluate(checkpoint, data, auto) == 0
    assert evaluate(checkpoint, data, off, "--connection", "off") == 0
    figures = json.loads((auto / "figures.json").read_text())
    assert figures["system"]["connection"] == "auto"
    assert set(figures["tasks"]) == set(REFERENCES)
    assert figures["tasks"]["xlsum"]["metric"] == "rougeL"
    assert figures["tasks"]["mkqa"]["scopes"]["de"]["rows"] == 3
    assert "## XL-Sum" in (auto / "figures.md").read_text()
    assert (auto / "figures.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()

    assert main(["compare", str(off), str(auto), "--output", str(compared)]) == 0
    printed = capsys.readouterr().out
    assert printed == (compared / "comparison.md").read_text()
    comparison = json.loads((compared / "comparison.json").read_text())
    assert comparison["tasks"]["mkqa"]["en"]["ties"] == 3, "English is plain in both"
    assert comparison["overall"]["rows"] == len(ROWS)
    assert (compared / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_evaluation_goes_on(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "interrupted"
    assert evaluate(checkpoint, data, whole) == 0
    generate = local.LocalCheckpoint._generate
    batches: list[int] = []

    def interrupted(self: local.LocalCheckpoint, batch: list) -> list[list[int]]:
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(len(batch))
        return generate(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(local.LocalCheckpoint, "_generate", interrupted)
        assert evaluate(checkpoint, data, output, "--batch-size", "5") == 130
    assert "interrupted; 10 of 24 answers are in" in capsys.readouterr().err
    assert not (output / "figures.json").exists()
    assert evaluate(checkpoint, data, output, "--batch-size", "5") == 0
    assert (output / "figures.json").read_text() == (whole / "figures.json").read_text()
    assert len((output / ANSWERS_FILE).read_text().splitlines()) == 1 + len(ROWS)


def test_the_bootstrap_is_repeatable(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    assert evaluate(checkpoint, data, tmp_path / "a", "--tasks", "xlsum", "--languages", "de") == 0
    first = (tmp_path / "a" / "figures.json").read_text()
    assert evaluate(checkpoint, data, tmp_path / "a", "--tasks", "xlsum", "--languages", "de") == 0
    assert (tmp_path / "a" / "figures.json").read_text() == first


def test_answers_are_scored_anew_without_what_answered(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    score = ["eval", "--data", str(data), "--output", str(output)]
    assert main(score) == 2
    assert "no answers yet; pass --endpoint or --checkpoint" in capsys.readouterr().err
    assert not output.exists()
    assert evaluate(checkpoint, data, output, "--tasks", "mkqa") == 0
    figures = (output / "figures.json").read_text()
    (output / "figures.json").unlink()
    assert main([*score, "--tasks", "mkqa"]) == 0
    assert (output / "figures.json").read_text() == figures
    assert main(score) == 2
    assert "18 of 24 rows have no answer" in capsys.readouterr().err


def test_bad_input(checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    address = f"http://127.0.0.1:{free_port()}"

    def refused(code: int, *arguments: str) -> str:
        assert main(["eval", "--data", str(data), "--output", str(output), *arguments]) == code
        return capsys.readouterr().err

    assert "--endpoint needs --model" in refused(2, "--endpoint", address)
    assert "cannot be reached" in refused(2, "--endpoint", address, "--model", "tiny")
    assert "no config.json there" in refused(2, "--checkpoint", str(tmp_path))
    assert "no row of language th" in refused(2, "--checkpoint", str(checkpoint), "--languages", "th")
    assert "has: auto, off, english" in refused(2, "--checkpoint", str(checkpoint), "--connection", "xx")
    assert not output.exists(), "nothing is written for it"
    assert evaluate(checkpoint, data, output, "--limit", "1") == 0
    assert evaluate(checkpoint, data, output, "--limit", "1", "--connection", "off") == 2
    assert "connection: 'auto' there, 'off' now" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        evaluate(checkpoint, data, output, "--tasks", "squad")
    assert "invalid choice: 'squad' (choose from" in capsys.readouterr().err
    assert main(["compare", str(output), str(tmp_path / "none")]) == 2
    assert "run cc-train eval to its end first" in capsys.readouterr().err


def test_rows_that_are_all_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"task": "mkqa", "lang": "de", "instruction": "a" * 600, "output": "alpha"}
    data = write_rows(tmp_path / "long.jsonl", [row])
    assert evaluate(checkpoint, data, tmp_path / "out") == 2
    assert "every row was refused; the first: mkqa/de/" in capsys.readouterr().err
    data = write_rows(tmp_path / "long.jsonl", [row, {**row, "instruction": "wer?"}])
    assert evaluate(checkpoint, data, tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "1 of 2 rows were refused and count as wrong" in printed.err
    assert "| refused |" in printed.out
