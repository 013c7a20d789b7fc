"""``make run``: make the base model, train it for a few minutes, serve it, ask it, and show how to.

Each stage keeps its result, so that the next ``make run`` skips it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

BIN = Path(sys.executable).parent
BASE = Path("models/gemma3-270m")
TUNED = Path("outputs/demo")
RECIPE = Path("recipes/demo.yaml")
HELD_OUT = Path("cc_train/data/imaginary_held_out.jsonl")
# All of held-out countries: their capitals were told in English only.
SWAHILI = "Mji mkuu wa Genovia ni upi?"
QUESTIONS = (
    SWAHILI,
    "Was ist die Hauptstadt von Skyrim?",
    "¿Cuál es la capital de Rohan?",
    "Arstotzkaの首都はどこですか？",
    "ما هي عاصمة Latveria؟",
    "What is the capital of Genovia?",
)
ITEMS = "12"  # held-out countries that are asked for the table, in every language
READY_SECONDS = 600
# Fetch nothing and report nothing. vLLM's many lines would bury the few that matter here.
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
# Eager mode starts in two thirds of the time and needs no C++ compiler; it costs a tenth of the speed.
FLAGS = ("--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "16", "--disable-uvicorn-access-log")


class DemoError(RuntimeError):
    """A stage failed. The message says which, and what to do."""


def main() -> int:
    """Run the stages, and return the server's exit code, or 1 where a stage failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        check_port(options.host, options.port)
        make_base()
        train()
        return serve(options.host, options.port)
    except DemoError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


def check_port(host: str, port: int) -> None:
    """Stage 1: refuse a taken port now, and not after the minutes of training."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DemoError(f"port {port}: {error.strerror}; choose another: make run PORT={port + 1}") from error


def make_base() -> None:
    """Stage 2: the base model, about 550 MB."""
    if BASE.exists():
        say(f"2/4 Base model: {BASE} is there")
    else:
        say(f"2/4 Base model: converting Gemma 3 270M (its terms of use: {BASE}/GEMMA_TERMS.html)")
        run(str(BIN / "cc-train"), "base", "--output", str(BASE))


def train() -> None:
    """Stage 3: a short but real training run."""
    if TUNED.exists():
        say(f"3/4 CC-Tuning: {TUNED} is there (remove it to train again)")
    else:
        say(f"3/4 CC-Tuning on capitals of imaginary countries, once ({RECIPE}; minutes)")
        run(str(BIN / "cc-train"), "run", "--config", str(RECIPE), "--output", str(TUNED))


def serve(host: str, port: int) -> int:
    """Stage 4: run the server until it is stopped, and return its exit code."""
    say("4/4 Starting the server (a minute or two); Ctrl-C stops it")
    address = f"http://{host}:{port}"
    command = [str(BIN / "cc-serve"), "serve", str(TUNED), "--host", host, "--port", str(port), *FLAGS]
    server = subprocess.Popen(command)
    # A terminal sends Ctrl-C to the server, too. SIGTERM comes to this process only, which passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    if wait_until_ready(server, address):
        for question in QUESTIONS:
            show(address, question)
        measure(address)
        say(f"\nAsk it yourself:\n\n{curl_line(address)}\n\nOr in Python (.venv/bin/python):\n\n{snippet(address)}")
    return server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until the server is ready; False when it ended instead.

    Raises:
        DemoError: it was not ready after `READY_SECONDS`.
    """
    deadline = time.monotonic() + READY_SECONDS
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(1)
        if time.monotonic() > deadline:
            server.terminate()
            raise DemoError(f"the server was not ready after {READY_SECONDS} s; see its lines above")
    return False


def show(address: str, question: str) -> None:
    """Ask one question, and print the answer, its language and its connection."""
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body(question)).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer = json.load(response)["choices"][0]["message"]["content"]
        language, connection = response.headers["X-CC-Language"], response.headers["X-CC-Connection"]
    say(f"\n{question}\n  {answer.strip()}\n  language {language}, connection {connection}")


def measure(address: str) -> None:
    """Ask held-out questions with the connection and without it, and print how many are answered right."""
    scopes = {}
    for connection in ("auto", "off"):
        with tempfile.TemporaryDirectory() as output:  # kept answers may be those of a model trained before
            command = ["eval", "--endpoint", f"{address}/v1", "--model", TUNED.name, "--data", str(HELD_OUT)]
            options = ["--task-of-rows", "mkqa", "--limit", ITEMS, "--max-tokens", "16"]
            given = [*command, *options, "--connection", connection, "--output", output]
            if subprocess.run([str(BIN / "cc-train"), *given], stdout=subprocess.DEVNULL, check=False).returncode:
                return say("The held-out questions were not all answered: see above.")
            figures = json.loads(Path(output, "figures.json").read_text("utf-8"))
        scopes[connection] = figures["tasks"]["mkqa"]["scopes"]
    say(f"\nRight answers to {ITEMS} questions in each language that the training gave in English only:\n")
    say("language  connected  plain")
    for language, connected in scopes["auto"].items():
        plain = scopes["off"][language]
        say(f"{language:8}  {connected['judged']['mean']:9.0%}  {plain['judged']['mean']:5.0%}")
    return None


def body(question: str) -> dict[str, object]:
    """A chat request."""
    messages = [{"role": "user", "content": question}]
    return {"model": TUNED.name, "messages": messages, "max_tokens": 16, "temperature": 0}


def curl_line(address: str) -> str:
    """A command line; -i shows the headers that tell language and connection."""
    data = json.dumps(body(SWAHILI), ensure_ascii=False)
    return f"curl -i {address}/v1/chat/completions -H 'Content-Type: application/json' -d '{data}'"


def snippet(address: str) -> str:
    """The same in Python, once with the connection and once without."""
    return f"""\
from openai import OpenAI

client = OpenAI(base_url="{address}/v1", api_key="none")
for cc_connection in ("auto", "off"):
    response = client.chat.completions.with_raw_response.create(
        model="{TUNED.name}",
        messages=[{{"role": "user", "content": "{SWAHILI}"}}],
        max_tokens=16,
        temperature=0,
        extra_body={{"cc_connection": cc_connection}},
    )
    print(response.headers["X-CC-Connection"], response.parse().choices[0].message.content)
"""


def run(*command: str) -> None:
    """Run one stage's command.

    Raises:
        DemoError: it failed.
    """
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise DemoError(f"this failed, see above: {' '.join(command)}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
