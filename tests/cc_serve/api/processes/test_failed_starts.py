"""A server of two API processes, one of whose processes is killed before it is ready: it says so, and ends."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.support.ports import free_port
from tests.support.server import FLAGS, serve_command

PATIENCE = 300


def child_called(parent: psutil.Process, name: str) -> psutil.Process:
    """The first of its kind, as soon as it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for child in parent.children():
            try:
                if any(name in part for part in child.cmdline()):
                    return child
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    raise AssertionError(f"no process is called {name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EngineCore", "the engine could not start; its own messages are above"),
        ("APIServer", "was killed by signal 9 before the server was ready; its own messages are above"),
    ],
)
def test_it_ends_and_says_which(checkpoint: Path, tmp_path: Path, name: str, message: str) -> None:
    log = tmp_path / "server.log"
    command = [*serve_command(checkpoint, free_port()), *FLAGS, "--api-server-count", "2"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
        )
    try:
        parent = psutil.Process(server.pid)
        child_called(parent, name).kill()
        processes = parent.children(recursive=True)
        assert server.wait(PATIENCE) == 1, "a supervisor should start it again"
    finally:
        server.kill()
    text = log.read_text()
    assert message in text, text[-2000:]
    assert "Traceback" not in text.rpartition(message)[2]
    assert not psutil.wait_procs(processes, timeout=30)[1], "nothing is left behind"
