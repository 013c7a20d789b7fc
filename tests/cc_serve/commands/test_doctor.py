"""``cc-serve doctor`` as a command: its lines, its JSON and its exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cc_serve.commands.main import main
from tests.support.ports import free_port
from tests.support.programs import installed
from tests.support.server import save_served_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_served_checkpoint(tmp_path_factory.mktemp("served"))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_machine_that_can_serve(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = tmp_path / "server.yaml"
    configuration.write_text("limits: {choices: 4}\n")
    status = main(["doctor", str(checkpoint), "--port", str(free_port()), "--cc-config", str(configuration)])
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.lstrip().startswith("->")]
    assert status == 0
    names = ["python", "torch", "processor", "vllm", "runner", "compiler", "port", "configuration", "checkpoint"]
    assert [line.split()[1] for line in lines] == [*names, "memory"]
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert "connections global, de; languages de fr" in lines[-2]


def test_a_failure_is_an_exit_code_and_json(tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path), "--host", "127.0.0.1", "--port", str(taken), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is False
    failed = {check["name"]: check for check in result["checks"] if check["status"] == "failed"}
    assert set(failed) == {"port", "checkpoint"}
    assert "Address already in use" in failed["port"]["found"]
    assert failed["port"]["advice"] == f"choose another one: --port {taken + 1}"
    assert "config.json: cannot be read" in failed["checkpoint"]["found"]
    assert all(check["advice"] for check in failed.values())


def test_a_torch_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    command = [installed("cc-serve"), "doctor", str(tmp_path), "--json", "--port", str(free_port())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    failed = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "failed"]
    assert [check["name"] for check in failed] == ["torch"]
    assert "libgomp.so.1" in failed[0]["found"]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_vllms_build_for_gpus_without_one(checkpoint: Path, tmp_path: Path) -> None:
    """The doctor and the server say so in a line, and the doctor nothing about the CPU, which would not compute."""
    metadata = tmp_path / "vllm-0.33.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.4\nName: vllm\nVersion: 0.33.0\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    done = run(installed("cc-serve"), "doctor", str(checkpoint), "--json", "--port", str(free_port()))
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["processor"]["found"] == "no GPU is found, and vllm 0.33.0 is vLLM's build for GPUs"
    assert "nvidia-smi" in checks["processor"]["advice"]
    assert checks.keys().isdisjoint({"runner", "compiler", "memory"})
    refused = (["serve", str(checkpoint)], ["serve", "--help=dtype"], ["completion", "bash"])
    # In one process, which imports torch and vLLM once.
    program = "import sys; from cc_serve.commands.main import main; print([main(c) for c in eval(sys.argv[1])])"
    done = run(sys.executable, "-c", program, repr(refused))
    assert done.stdout == "[2, 2, 2]\n", done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("cc-serve: no GPU is found, and vllm 0.33.0")]
    assert len(lines) == len(refused)
    assert done.stderr.splitlines()[-1] == lines[-1]
