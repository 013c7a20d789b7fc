"""Training from the files that people bring, each with the README's command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cc_train.commands.main import main
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


def a_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-16", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path


def an_alpaca_array(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text(
        json.dumps([{**row, "input": "Nur ein Wort.", "input_en": "One word only."} for row in rows], indent=2)
    )
    return path


def conversations(path: Path, rows: list[dict[str, str]]) -> Path:
    def shared(question: str, answer: str) -> list[dict[str, Any]]:
        said = [("human", "Hallo"), ("gpt", "Ja?"), ("human", question), ("gpt", answer)]
        return [{"from": name, "value": text} for name, text in said]

    lines = [
        {
            "lang": row["lang"],
            "messages": shared(row["instruction"], row["output"]),
            "messages_en": shared(row["instruction_en"], row["output"]),
        }
        for row in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("write", "options", "used"),
    [(a_table, [], 64), (an_alpaca_array, [], 64), (conversations, ["--train-turns", "all"], 128)],
)
def test_a_file_that_people_bring_is_trained_on(
    write: Any, options: list[str], used: int, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write(tmp_path / "brought", word_rows())
    where = ["--model", str(base), "--data", str(path), "--output", str(tmp_path / "out"), *options]
    assert main(["run", *where, "--use-cpu", "--disable-tqdm", "true", "--max-steps", "2"]) == 0
    said = capsys.readouterr()
    assert f"{used} rows used, 0 skipped" in " ".join(said.err.split())
    assert "cc-serve serve" in said.out
    assert (tmp_path / "out" / "cc_connection.safetensors").is_file()
