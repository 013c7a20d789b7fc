"""Commands that take a directory take an id of the hub, too; a small hub of ours gives them a tiny checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.model_hub import running_hub
from tests.support.programs import installed
from tests.support.server import save_served_checkpoint

NAME = "someone/tiny-checkpoint"
ENGLISH = ("What is one and one?", "How many legs has a bird?")
GERMAN = ("Was ist eins und eins?", "Wie viele Beine hat ein Vogel?")
ROWS = [
    {"lang": language, "task": "mkqa", "instruction": text, "instruction_en": english, "output": "2"}
    for language, texts in (("en", ENGLISH), ("de", GERMAN))
    for text, english in zip(texts, ENGLISH, strict=True)
]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("hub")
    with running_hub(NAME, save_served_checkpoint(folder)) as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "0",
        }

        def run_command(program: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
            command = [installed(program), *arguments]
            return subprocess.run(
                command, input=text, env=environment, capture_output=True, text=True, check=False, timeout=600
            )

        yield run_command


def test_route(run: Run) -> None:
    done = run("cc-serve", "route", "--checkpoint", NAME, text='"Wo ist der Bahnhof, bitte?"\n')
    assert json.loads(done.stdout)["connection"] == "de", done.stderr


@pytest.mark.parametrize(
    ("name", "found", "advice"),
    [
        (NAME, "connections global, de; languages de fr", ""),
        (
            "someone/else",
            "someone/else: there is no such directory, and the hub gave no such model (",
            "name a directory, or the id of a model that you may read",
        ),
    ],
)
def test_doctor(run: Run, name: str, found: str, advice: str) -> None:
    checks = json.loads(run("cc-serve", "doctor", name, "--json").stdout)["checks"]
    (check,) = [check for check in checks if check["name"] == "checkpoint"]
    assert check["found"].startswith(found)
    assert check["advice"] == advice


def test_data_check(run: Run, rows: Path) -> None:
    assert "tokens" in run("cc-train", "data", "check", str(rows), "--model", NAME).stdout
    done = run("cc-train", "data", "check", str(rows), "--model", "someone/else")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--model someone/else: there is no such directory" in done.stderr


def test_headroom(run: Run, rows: Path) -> None:
    done = run("cc-train", "headroom", "--model", NAME, "--data", str(rows), "--max-tokens", "2")
    assert done.returncode == 0, done.stderr
    done = run("cc-train", "headroom", "--model", "someone/else", "--data", str(rows))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--model someone/else: there is no such directory" in done.stderr


def test_eval(run: Run, rows: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(rows), "--output", str(tmp_path / "out"), "--max-tokens", "2"]
    done = run("cc-train", "eval", "--checkpoint", NAME, *arguments)
    assert done.returncode == 0, done.stderr
    done = run("cc-train", "eval", "--checkpoint", "someone/else", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--checkpoint someone/else: there is no such directory" in done.stderr
