"""A model may be named by its id: the hub's own client downloads it, once, and nothing but what a model is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cc_core.hub import UnknownModelError, local_directory, shown_name
from tests.support.model_hub import COMMIT, running_hub

NAME = "someone/tiny-model.v2"


def ask(tmp_path: Path, address: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since the client reads where the hub is when it is imported."""
    code = f"from cc_core.hub import local_directory; print(local_directory({name!r}))"
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_a_model_is_downloaded_once_with_its_licence(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    wanted = ["LICENSE", "README.md", "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.model"]
    for name in (*wanted, "pytorch_model.bin", "picture.png", "model.gguf", "consolidated.safetensors"):
        (model / name).write_text(f"this is {name}")
    with running_hub(NAME, model) as hub:
        for _ in range(2):
            answer = ask(tmp_path, hub.address)
            assert answer.returncode == 0, answer.stderr
            directory = Path(answer.stdout.strip())
            assert sorted(path.name for path in directory.iterdir()) == wanted
            assert directory.name == COMMIT
        assert sorted(hub.downloads) == wanted
        unknown = ask(tmp_path, hub.address, "someone/else")
    assert "someone/else: there is no such directory, and the hub gave no such model (" in unknown.stderr
    # What was downloaded can be used without the hub.
    again = ask(tmp_path, hub.address)
    assert Path(again.stdout.strip()) == directory, again.stderr


def test_without_the_hub_the_refusal_is_one_line(tmp_path: Path) -> None:
    error = ask(tmp_path, "http://127.0.0.1:9").stderr.splitlines()[-1]
    assert error.startswith(
        f"cc_core.hub.UnknownModelError: {NAME}: there is no such directory, and the hub gave no such model ("
    )
    assert error.endswith("name a directory, or the id of a model that you may read")


def test_directories_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs/mine").mkdir(parents=True)
    for name in ("outputs/mine", "/no/such/place", "./none", "one", "a/b/c", str(tmp_path)):
        assert local_directory(name) == Path(name)
        assert shown_name(name) == Path(name).name
    assert shown_name(NAME) == NAME
    assert issubclass(UnknownModelError, ValueError)
