"""A real store: redis-server on a free port, which a test may stop, kill, suspend and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.ports import free_port


class StoreServer:
    """One store; its data is in ``folder``, so that it survives a restart where the options keep it."""

    def __init__(self, folder: Path, *options: str, scheme: str = "redis", port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.options = options
        self.scheme = scheme
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program
        where = ("--dir", str(self.folder), "--port", "0" if self.scheme == "rediss" else str(self.port))
        self.process = subprocess.Popen(
            [program, *where, "--bind", "127.0.0.1", "--save", "", *self.options],
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 60
        while True:
            try:
                self.client(retry=None).ping()
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                assert time.monotonic() < end, "the store did not start"
                time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def suspend(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def client(self, **options: object) -> redis.Redis:
        tls = {"ssl": True, "ssl_cert_reqs": "none"} if self.scheme == "rediss" else {}
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=60, **(tls | options))  # type: ignore[arg-type]


@contextmanager
def running_store(folder: Path, *options: str, **more: str) -> Iterator[StoreServer]:
    """A store for one test or module; the test is skipped where there is no program for it."""
    if not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("redis-server is not installed: `make redis` installs it")
    server = StoreServer(folder, *options, **more)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        server.stop()
