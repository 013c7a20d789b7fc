"""The finished checkpoint is pushed with its card, by the real client to a small hub; and what fails is one line."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from cc_train.commands.main import main
from tests.support.model_hub import running_hub
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


class Hub(ThreadingHTTPServer):
    """Takes repositories and commits; every file comes inside its commit."""

    files: dict[str, bytes]
    made: list[dict[str, object]]
    refuses: bool = False


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer({"siblings": [], "id": "someone/mine", "sha": "0" * 40, "cardData": {}})

    def do_POST(self) -> None:
        payload = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/api/repos/create":
            self.server.made.append(json.loads(payload))
            self._answer({"url": f"http://{self.headers['host']}/someone/mine", "id": "someone/mine"})
        elif "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(payload)["files"]]
            self._answer({"files": [{"path": f, "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in self.path and self.server.refuses:
            self._answer({"error": "no more room"}, 403)
        elif "/commit/" in self.path:
            for line in map(json.loads, payload.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"http://{self.headers['host']}/someone/mine/commit/{'0' * 40}"
            self._answer({"commitUrl": address, "commitOid": "0" * 40, "success": True})
        else:
            self._answer({"valid": True})

    def _answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), _Handler)
    server.files, server.made = {}, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _point_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """What HF_ENDPOINT does, which the client reads when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.HF_HUB_OFFLINE", False)


def run(tmp_path: Path, *options: str) -> int:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    where = ["--model", str(base), "--data", str(rows), "--output", str(tmp_path / "out")]
    return main(["run", *where, "--use-cpu", "--disable-tqdm", "true", "--max-steps", "1", "--method", "sft", *options])


def test_a_run_pushes_what_it_finished(hub: Hub, tmp_path: Path) -> None:
    assert run(tmp_path, "--push-to-hub", "true", "--hub-model-id", "someone/mine", "--hub-token", "hf_secret") == 0
    local = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert set(hub.files) == local
    assert not any(b"hf_secret" in content for content in hub.files.values())
    assert {"README.md", "config.json", "model.safetensors"} <= local
    assert not any("checkpoint-" in name or name.endswith(".pt") for name in hub.files)
    assert hub.files["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()
    assert hub.made[0]["name"] == "mine"
    hub.files.clear()
    assert main(["push", str(tmp_path / "out"), "someone/mine"]) == 0
    assert set(hub.files) == local


def test_a_hub_that_cannot_be_reached_stops_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _point_at(monkeypatch, "http://127.0.0.1:9")
    assert run(tmp_path, "--push-to-hub", "true", "--hub-model-id", "someone/mine") == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("cc-train run: --push-to-hub: someone/mine cannot be made on the hub: ")
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_refused_push_names_the_command_that_pushes_to_the_same_branch(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    finished = tmp_path / "a run"
    finished.mkdir()
    for name in ("README.md", "config.json"):
        (finished / name).write_text("{}")
    hub.refuses = True
    assert main(["push", str(finished), "someone/mine", "--revision", "trial"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cc-train push: {finished} is finished, but cannot be pushed to someone/mine: ")
    assert line.endswith(f"; push it with: cc-train push '{finished}' someone/mine --revision trial")


def test_what_cannot_be_made_is_not_blamed_on_an_option_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _point_at(monkeypatch, "http://127.0.0.1:9")
    for name in ("README.md", "config.json"):
        (tmp_path / name).write_text("{}")
    assert main(["push", str(tmp_path), "someone/mine"]) == 2
    assert capsys.readouterr().err.startswith("cc-train push: someone/mine cannot be made on the hub: ")


def test_only_what_a_run_finished_is_pushed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["push", str(tmp_path), "someone/mine"]) == 2
    assert "holds no README.md; name the --output of a finished run" in capsys.readouterr().err


def test_a_base_model_is_named_by_its_id(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    (base / "LICENSE").write_text("Do good.")
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    with running_hub("someone/tiny", base) as server:
        environment = {**os.environ, "HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "home")}
        where = ["--model", "someone/tiny", "--data", str(rows), "--output", str(tmp_path / "out")]
        options = ["--use-cpu", "--disable-tqdm", "true", "--max-steps", "1", "--method", "sft"]
        code = "import sys; from cc_train.commands.main import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "run", *where, *options]
        done = subprocess.run(
            command, env={**environment, "HF_HUB_OFFLINE": "0"}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "LICENSE").read_text() == "Do good."
    assert json.loads((tmp_path / "out" / "cc_run.json").read_text())["base_model"] == "someone/tiny"
