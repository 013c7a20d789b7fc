"""``cc-serve doctor``: every check in a machine that can serve, and each failure with what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cc_serve.process.cpu
from cc_serve.commands import doctor
from cc_serve.commands.doctor import Status
from cc_serve.commands.main import main
from tests.support.ports import free_port
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama
from tests.support.tiny_tokenizer import tiny_tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("doctor") / "tiny"
    save_checkpoint(directory, tiny_llama(), random_connection(["global", "de"]), ["de", "fr"])
    tiny_tokenizer().save_pretrained(directory)
    return directory


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


def test_a_package_that_does_not_match_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    check = doctor.check_torch()
    assert check.status == Status.FAILED
    assert "pip uninstall torchaudio" in check.advice


def test_a_torch_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    program = Path(sys.executable).with_name("cc-serve")
    command = [str(program), "doctor", str(tmp_path), "--json", "--port", str(free_port())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    failed = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "failed"]
    assert [check["name"] for check in failed] == ["torch"]
    assert "libgomp.so.1" in failed[0]["found"]


@pytest.mark.parametrize("port", [0, 70000])
def test_a_port_that_is_none(port: int) -> None:
    check = doctor.check_port("127.0.0.1", port)
    assert (check.status, "from 1 to 65535" in check.advice) == (Status.FAILED, True)


def test_another_release_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "VLLM", "0.99")
    check = doctor.check_vllm()
    assert (check.status, "install 0.99.0" in check.advice) == (Status.FAILED, True)


def test_vllm_that_is_not_there_or_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of its own, since this one may have imported vLLM already.
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    program = "from cc_serve.commands.doctor import check_vllm; check = check_vllm(); print(check.status, check.found)"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("failed ")
    assert "cannot be imported: operator torchvision::nms does not exist" in done.stdout
    monkeypatch.setattr(doctor, "_release", lambda: None)
    assert doctor.check_vllm().found == "is not installed"


@pytest.mark.parametrize(
    ("setting", "triton", "status", "words"),
    [
        (None, False, Status.OK, "vLLM's choice"),
        ("0", False, Status.OK, "V1"),
        ("1", True, Status.OK, "V2"),
        ("1", False, Status.FAILED, "V2 needs Triton, which is not here: unset VLLM_USE_V2_MODEL_RUNNER"),
        ("v2", True, Status.FAILED, "unset VLLM_USE_V2_MODEL_RUNNER, or set it to 0 or 1"),
    ],
)
def test_the_model_runner(
    setting: str | None, triton: bool, status: Status, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: object() if triton else None)
    monkeypatch.delenv(doctor.RUNNER, raising=False)
    if setting is not None:
        monkeypatch.setenv(doctor.RUNNER, setting)
    check = doctor.check_runner()
    assert (check.status, check.advice or check.found) == (status, words)


def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHONS", ((3, 98), (3, 99)))
    assert doctor.check_python().status == Status.FAILED


@pytest.mark.parametrize(
    ("capabilities", "status", "words"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": True}, Status.OK, "avx512_bf16"),
        ({"avx2": True}, Status.WARNING, "dtype float32"),
        ({}, Status.FAILED, "no vector instructions"),
    ],
)
def test_processors(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], status: Status, words: str) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    check = doctor.check_cpu()
    assert check.status == status
    assert words in check.found
    assert bool(check.advice) == (status != Status.OK)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "--enforce-eager" in doctor.check_compiler().advice


def test_too_little_memory(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_memory", lambda: 1 << 20)
    check = doctor.check_memory(checkpoint)
    assert check.status == Status.FAILED
    assert "GiB needed" in check.found
    assert "--kv-cache-memory-bytes" in check.advice


def test_weights_take_twice_as_much_in_float32(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_saved_dtype", lambda _directory: "bfloat16")
    monkeypatch.setattr(doctor, "_GIB", 1 << 10)  # tiny weights, in KiB
    found = []
    for capable in (True, False):
        monkeypatch.setattr(cc_serve.process.cpu, "has_bfloat16", lambda capable=capable: capable)
        found.append(float(doctor.check_memory(checkpoint).found.split(", ")[1].split()[0]))
    assert found[1] == pytest.approx(2 * found[0], rel=1e-3)


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer_config.json", "cc_connection.safetensors"])
def test_a_checkpoint_of_which_something_is_missing(checkpoint: Path, tmp_path: Path, missing: str) -> None:
    for file in checkpoint.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    check = doctor.check_checkpoint(tmp_path)
    assert check.status == Status.FAILED
    assert check.advice


def test_a_bad_configuration(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("limits: {body_byte: 1}")
    check = doctor.check_configuration(file)
    assert (check.status, "did you mean body_bytes?" in check.found) == (Status.FAILED, True)
