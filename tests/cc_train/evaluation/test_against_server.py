"""``cc-train eval`` against the real server: what it asks, keeps and finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cc_train.commands.main import main
from tests.support.server import MODEL, Server
from tests.support.tiny_tokenizer import write_rows

ROWS = [
    {
        "id": str(number),
        "task": "mkqa",
        "lang": language,
        "instruction": f"{text} {number}",
        "instruction_en": f"Who wrote this book, and when was it? {number}",
        "output": "alpha",
    }
    for language, text in (
        ("de", "Wer hat dieses Buch geschrieben, und wann war das?"),
        ("en", "Who wrote this book, and when was it?"),
    )
    for number in range(10)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", ROWS)


def command(server: Server, data: Path, output: Path, *more: str) -> list[str]:
    where = ["--endpoint", server.address, "--model", MODEL]
    return ["eval", *where, "--data", str(data), "--output", str(output), "--max-tokens", "8", *more]


def answers(output: Path) -> dict[str, dict]:
    lines = (output / "answers.jsonl").read_text("utf-8").splitlines()[1:]
    return {answer["key"]: answer for answer in map(json.loads, lines)}


def test_connected_and_plain_are_compared(server: Server, data: Path, tmp_path: Path) -> None:
    auto, off = tmp_path / "auto", tmp_path / "off"
    assert main(command(server, data, auto)) == 0
    assert main(command(server, data, off, "--connection", "off")) == 0
    connected, plain = answers(auto), answers(off)
    assert {a["connection"] for key, a in connected.items() if "/de/" in key} == {"de"}
    assert {a["connection"] for a in plain.values()} == {"off"}
    assert all((connected[key]["text"] == plain[key]["text"]) == ("/en/" in key) for key in plain)
    system = json.loads((auto / "figures.json").read_text())["system"]
    assert system["checkpoint"] == str(server.checkpoint)
    known = json.loads((server.checkpoint / "config.json").read_text())["cc_connection"]["sha256"]
    assert system["connection_sha256"] == known
    assert main(["compare", str(off), str(auto), "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "comparison.json").read_text())["overall"]["rows"] == len(ROWS)


def test_in_process_answers_are_the_servers(server: Server, data: Path, tmp_path: Path) -> None:
    served, here = tmp_path / "served", tmp_path / "here"
    assert main(command(server, data, served)) == 0
    where = ["--checkpoint", str(server.checkpoint), "--data", str(data), "--output", str(here), "--max-tokens", "8"]
    assert main(["eval", *where]) == 0
    assert answers(served) == answers(here)


def test_bad_input_is_told(server: Server, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command(server, data, tmp_path / "a"), "--connection", "xx"]) == 1
    assert "unknown cc_connection 'xx'; this checkpoint has: auto, off, global, de" in capsys.readouterr().err
    wrong = command(server, data, tmp_path / "b")
    wrong[wrong.index(MODEL)] = "large"
    assert main(wrong) == 2
    assert "serves no model 'large'; it serves: tiny" in capsys.readouterr().err
    long = write_rows(tmp_path / "long.jsonl", [*ROWS[:2], {**ROWS[0], "id": "long", "instruction": "Wer? " * 200}])
    assert main(command(server, long, tmp_path / "c")) == 0
    printed = capsys.readouterr().err
    assert "1 of 3 rows were refused and count as wrong; the first: mkqa/de/long: status 400" in printed


def test_ctrl_c_keeps_what_is_done(server: Server, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    rows = [{**row, "id": f"{row['id']}-{number}"} for number in range(4) for row in ROWS]
    many = write_rows(tmp_path / "many.jsonl", rows)
    arguments = command(server, many, output, "--concurrency", "1", "--max-tokens", "100")
    process = subprocess.Popen(
        [sys.executable, "-m", "cc_train.commands.main", *arguments], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    end = time.monotonic() + 600
    file = output / "answers.jsonl"
    while time.monotonic() < end and not (
        file.exists() and file.read_bytes().count(b"\n") > 2
    ):  # the first is no answer
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 130
    done = len(answers(output))
    assert 1 < done < len(rows)
    assert f"interrupted; {done} of {len(rows)} answers are in" in printed
    assert main(arguments) == 0
    assert len(answers(output)) == len(rows)
