"""Checks a running container for `tools/image_test.sh`.

python -m tests.deploy.image_client ADDRESS CONTAINER
"""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import openai

START_SECONDS = 300


def podman(*arguments: str, check: bool = True) -> str:
    """Run podman, and return what it prints."""
    done = subprocess.run(["podman", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def wait_until_ready(address: str, container: str) -> float:
    """Wait until the server is ready, and return the seconds."""
    start = time.monotonic()
    while time.monotonic() - start < START_SECONDS:
        assert podman("inspect", "-f", "{{.State.Running}}", container) == "true", podman("logs", container)
        try:
            if httpx.get(f"{address}/ready").is_success:
                return time.monotonic() - start
        except httpx.TransportError:
            time.sleep(1)
    raise AssertionError(f"not ready after {START_SECONDS} s")


def main(address: str, container: str) -> None:
    """Check one thing after the other. The first that does not hold raises."""
    print(f"ready after {wait_until_ready(address, container):.0f} s")
    podman("healthcheck", "run", container)
    assert podman("exec", container, "id", "-u") == "10001"
    assert (
        "Read-only"
        in subprocess.run(
            ["podman", "exec", container, "touch", "/opt/x"], check=False, capture_output=True, text=True
        ).stderr
    )
    for program in ("gcc", "g++", "cc", "ld"):
        assert podman("exec", container, "sh", "-c", f"command -v {program} || true") == "", program
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=120)
    for text, language, connection in (
        ("Mji mkuu wa Genovia ni upi?", "sw", "global"),
        ("What is the capital of Kenya?", "en", "off"),
    ):
        response = client.chat.completions.with_raw_response.create(
            model="model", messages=[{"role": "user", "content": text}], max_tokens=8
        )
        assert (response.headers["X-CC-Language"], response.headers["X-CC-Connection"]) == (language, connection)
        usage = response.parse().usage
        assert usage is not None
        assert usage.completion_tokens > 0
    assert (
        'cc:requests_total{connection="global",holdout="none",language="sw",outcome="ok"} 1.0'
        in httpx.get(f"{address}/metrics").text
    )
    stream = client.chat.completions.create(
        model="model",
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=200,
        stream=True,
        extra_body={"ignore_eos": True},
        stream_options={"include_usage": True},
    )
    next(stream)
    stop = subprocess.Popen(["podman", "stop", "-t", "45", container], stdout=subprocess.DEVNULL)
    assert [chunk.usage.completion_tokens for chunk in stream if chunk.usage] == [200]
    assert stop.wait() == 0
    assert podman("inspect", "-f", "{{.State.ExitCode}}", container) == "0"
    log = subprocess.run(["podman", "logs", container], check=True, capture_output=True, text=True)
    for alarm in ("EngineDeadError", "Traceback", " ERROR "):
        assert alarm not in log.stdout + log.stderr, log.stdout + log.stderr
    print("the image answers, as uid 10001 on a read-only root, and stops cleanly in the middle of a stream")


if __name__ == "__main__":
    main(*sys.argv[1:])
