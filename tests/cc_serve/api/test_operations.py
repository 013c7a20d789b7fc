"""A real server with keys and limits: what it answers, reloads, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import psutil
import pytest

from cc_serve.config.keys import hash_key
from tests.support.engines import clients_of, engine_of, engines_of, slowed, suspended
from tests.support.ports import free_port
from tests.support.programs import serve_command
from tests.support.server import ENDLESS, ENDLESS_TOKENS, FLAGS, MODEL, START_SECONDS, Server, started
from tests.support.traces import Collector, collecting

GERMAN = "Wo ist der Bahnhof, bitte?"
LONG = {"max_tokens": 450, "extra_body": {"ignore_eos": True}}
BOUNDS = "output_tokens: 450, prompt_tokens: 100, sequences: 8, body_bytes: 1000000, per_key: {concurrent_requests: 1}"
SLOW_PATTERN = "(a|b)?" * 1000
SLOW_SCHEMA = {"name": "slow", "schema": {"type": "string", "pattern": SLOW_PATTERN}}


def configuration(limits: str) -> str:
    keys = {"ops": "admin: true", "user": "admin: false", "little": "limits: {tokens_per_minute: 60}"}
    keys["held"] = "routing: {holdout: 1}"
    entries = [f"  {name}: {{sha256: {hash_key(name)}, {extra}}}" for name, extra in keys.items()]
    return "\n".join(["keys:", *entries, f"limits: {{{limits}}}", "metrics: {answer_languages: 1}"])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configuration") / "server.yaml"
    path.write_text(configuration(f"{BOUNDS}, choices: 4"))
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "guarded.log"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(checkpoint: Path, config: Path, log: Path, collector: Collector) -> Iterator[Server]:
    flags = ("--cc-config", str(config), "--otlp-traces-endpoint", collector.address)
    with started(checkpoint, log, *flags) as running:
        running.client = running.client.copy(api_key="user")
        running.http.headers["x-api-key"] = "user"
        yield running


@pytest.fixture(scope="module")
def usage_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("usage") / "usage.sqlite"


@pytest.fixture(scope="module")
def endless(checkpoint: Path, usage_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose answers are not over before a test has acted on them; the key ``one`` asks one after the other."""
    folder = tmp_path_factory.mktemp("endless")
    one = f"{{sha256: {hash_key('one')}, limits: {{concurrent_requests: 1}}}}"
    keys = f"user: {{sha256: {hash_key('user')}}}, last: {{sha256: {hash_key('last')}}}, one: {one}"
    (folder / "server.yaml").write_text(
        f"keys: {{{keys}}}\nusage: {{file: {usage_file}}}\n"
        f"limits: {{output_tokens: {4 * ENDLESS_TOKENS}, choices: 4, sequences: 16}}"
    )
    with started(checkpoint, folder / "log", *ENDLESS, "--cc-config", str(folder / "server.yaml")) as running:
        running.client = running.client.copy(api_key="user")
        running.http.headers["x-api-key"] = "user"
        yield running


def ask(server: Server, **options: Any) -> Any:
    """A long answer to a short question."""
    messages: Any = [{"role": "user", "content": GERMAN}]
    return server.client.chat.completions.create(**{"model": MODEL, "messages": messages, **LONG, **options})


def running(server: Server) -> float:
    return metric(server, "vllm:num_requests_running{")


def metric(server: Server, name: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def server_errors(server: Server) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("cc:requests_total{") and "server_e" in line
    )


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_everything_needs_a_key(guarded: Server) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": GERMAN}], "max_tokens": 4, "prompt": GERMAN}
    with httpx.Client(base_url=guarded.address, timeout=60) as stranger:
        for path in ("/v1/chat/completions", "/tokenize", "/invocations"):
            assert stranger.post(path, json=body).status_code == 401
            assert guarded.http.post(path, json=body).status_code == 200
        for path in ("/metrics", "/v1/models", "/openapi.json", "/%76ersion", "//version", "/version"):
            assert stranger.get(path).status_code == 401
        assert {stranger.get(path).status_code for path in ("/live", "/ready", "/health")} == {200}
        assert stranger.request("OPTIONS", "/v1/models").status_code == 401


def test_anthropics_client_is_let_in(guarded: Server) -> None:
    def message(key: str) -> Any:
        with anthropic.Anthropic(base_url=guarded.address, api_key=key, max_retries=0) as client:
            return client.messages.create(model=MODEL, max_tokens=4, messages=[{"role": "user", "content": GERMAN}])

    assert message("user").usage.output_tokens == 4
    with pytest.raises(anthropic.AuthenticationError):
        message("nobody")


def test_who_is_held_out_gets_the_plain_answer(guarded: Server) -> None:
    def answer(key: str, **extra: str) -> tuple[list[int], str | None, str | None]:
        messages: Any = [{"role": "user", "content": GERMAN}]
        response = guarded.client.copy(api_key=key).chat.completions.with_raw_response.create(
            model=MODEL, messages=messages, max_tokens=8, temperature=0, extra_body={"return_token_ids": True, **extra}
        )
        told = response.headers.get("X-CC-Connection"), response.headers.get("X-CC-Holdout")
        return response.parse().model_dump()["choices"][0]["token_ids"], *told

    plain, connected = answer("user", cc_connection="off"), answer("user")
    assert connected[0] != plain[0]
    assert (plain[1:], connected[1:]) == (("off", None), ("de", None))
    assert answer("held") == (plain[0], "off", "plain")
    assert answer("held", cc_connection="de") == connected
    counted = 'cc:requests_total{connection="off",holdout="plain",language="de",outcome="ok"} 1.0'
    assert counted in guarded.http.get("/metrics").text
    # What a model of random weights writes is in no language.
    until(lambda: metric(guarded, 'cc:answers_total{answered="und",asked="de",connection="off",holdout="plain"}') == 1)


def test_a_trace_goes_on_through_the_engine(guarded: Server, collector: Collector) -> None:
    trace, parent = os.urandom(16), os.urandom(8)
    ask(guarded, max_tokens=4, extra_headers={"traceparent": f"00-{trace.hex()}-{parent.hex()}-01"})
    until(lambda: [span for span in collector.spans if span.trace_id == trace])
    (span,) = [span for span in collector.spans if span.trace_id == trace]
    attributes = {item.key: item.value for item in span.attributes}
    assert span.parent_span_id == parent
    assert attributes["gen_ai.usage.completion_tokens"].int_value == 4


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 5}, "n"),
        ({"extra_body": {"n": "5"}}, "n"),
        ({"extra_body": {"best_of": 5}}, "best_of"),
        ({"max_tokens": 451}, "max_tokens"),
        ({"max_completion_tokens": 451}, "max_completion_tokens"),
        ({"messages": [{"role": "user", "content": GERMAN * 10}]}, "messages"),
        ({"response_format": {"type": "json_schema", "json_schema": SLOW_SCHEMA}}, "response_format"),
        ({"extra_body": {"structured_outputs": {"regex": SLOW_PATTERN}}}, "structured_outputs"),
    ],
)
def test_asking_for_too_much_names_the_field(guarded: Server, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(guarded, **options)
    assert caught.value.param == param
    with pytest.raises(openai.BadRequestError):
        ask(guarded, stream=True, **options)


def test_prompts_times_n_are_bounded(guarded: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="at most 8"):
        guarded.client.completions.create(model=MODEL, prompt=["a"] * 3, n=3, max_tokens=1)


def test_an_answer_of_no_given_length_is_bounded_too(guarded: Server) -> None:
    answer = ask(guarded, max_tokens=openai.omit)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (450, "length")


@pytest.mark.parametrize("size", [1_000_001, 20_000_000])
def test_a_large_body_is_refused_and_the_connection_goes_on(guarded: Server, size: int) -> None:
    response = guarded.http.post("/v1/chat/completions", content=b"[" * size)
    assert (response.status_code, response.json()["error"]["type"]) == (413, "RequestTooLargeError")
    assert guarded.http.get("/ready").status_code == 200


def test_a_stream_is_charged_what_its_usage_says(guarded: Server) -> None:
    client = guarded.client.copy(api_key="little")
    messages: Any = [{"role": "user", "content": "a"}]
    begun = time.monotonic()
    options = {"stream": True, "stream_options": {"include_usage": True}, "extra_body": {"ignore_eos": True}}
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=30, **options))
    used = chunks[-1].usage.total_tokens
    assert used > 30
    headers = {"x-api-key": "little"}
    left = int(
        guarded.http.post("/tokenize", json={"prompt": "a"}, headers=headers).headers["X-RateLimit-Remaining-Tokens"]
    )
    assert 60 - used <= left <= 60 - used + (time.monotonic() - begun) + 1
    client.chat.completions.create(model=MODEL, messages=messages, max_tokens=60, extra_body={"ignore_eos": True})
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)
    assert int(caught.value.response.headers["Retry-After"]) > 0
    assert ask(guarded, max_tokens=1).usage, "others are not held up"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine_and_its_place(endless: Server, stream: bool) -> None:
    before = metric(endless, "vllm:generation_tokens_total{")
    wanted = {"model": MODEL, "messages": [{"role": "user", "content": GERMAN}], "ignore_eos": True}
    wanted |= {"max_tokens": ENDLESS_TOKENS, "n": 4, "stream": stream}
    with connected(endless, "/v1/chat/completions", json.dumps(wanted), key="one"):
        until(lambda: metric(endless, "vllm:generation_tokens_total{") > before)
    until(lambda: running(endless) == 0)
    assert metric(endless, "vllm:generation_tokens_total{") - before < 4 * ENDLESS_TOKENS
    one = endless.client.copy(api_key="one")
    messages: Any = wanted["messages"]
    until(lambda: succeeds(lambda: one.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)))


@contextmanager
def connected(server: Server, path: str, body: str, key: str = "user") -> Iterator[socket.socket]:
    """A request by hand, whose connection is dropped on leaving."""
    address = httpx.URL(server.address)
    with socket.create_connection((address.host, address.port)) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        yield connection


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except openai.RateLimitError:
        return False
    return True


def test_a_new_configuration_is_read_on_a_signal(guarded: Server, config: Path, log: Path) -> None:
    reload(guarded, config, log, configuration(f"{BOUNDS}, choices: 1"), "Configuration reloaded")
    with pytest.raises(openai.BadRequestError, match="at most 1"):
        ask(guarded, n=2, temperature=1)
    reload(
        guarded,
        config,
        log,
        configuration("choice: 3"),
        f"{config}: limits.choice: unknown field; did you mean choices?",
    )
    with pytest.raises(openai.BadRequestError, match="at most 1"):
        ask(guarded, n=2, temperature=1)
    config.write_text(configuration(f"{BOUNDS}, choices: 4"))
    assert guarded.http.post("/admin/reload").status_code == 403
    assert guarded.http.post("/admin/reload", headers={"x-api-key": "ops"}).json() == {"status": "reloaded"}
    assert len(ask(guarded, n=2, temperature=1, max_tokens=4).choices) == 2


def test_the_deadline_ends_the_engines_request_and_says_so(guarded: Server, config: Path, log: Path) -> None:
    bounds = f"{BOUNDS}, choices: 4, deadline_seconds: 0.1"
    reload(guarded, config, log, configuration(bounds), "Configuration reloaded")
    before, faults = metric(guarded, "vllm:generation_tokens_total{"), server_errors(guarded)
    lines = len(log.read_text().splitlines())
    with pytest.raises(openai.InternalServerError, match=r"deadline of 0\.1 s") as caught:
        ask(guarded, n=4)
    assert caught.value.status_code == 504
    with pytest.raises(openai.APIError, match=r"deadline of 0\.1 s"):
        list(ask(guarded, n=4, stream=True))
    responses: Any = {"model": MODEL, "input": GERMAN, "max_output_tokens": 450, "extra_body": {"ignore_eos": True}}
    with pytest.raises(openai.APIError, match=r"deadline of 0\.1 s"):
        list(guarded.client.responses.create(stream=True, **responses))
    with pytest.raises(openai.APIError, match=r"deadline of 0\.1 s"):
        list(guarded.client.completions.create(model=MODEL, prompt="a", n=4, stream=True, **LONG))
    with anthropic.Anthropic(base_url=guarded.address, api_key="user", max_retries=0) as claude:
        ask_claude: Any = {"model": MODEL, "max_tokens": 450, "messages": [{"role": "user", "content": GERMAN}]}
        for stream in (False, True):
            # This endpoint has no field to ignore the answer's end, which may come before the deadline.
            with (
                suspended(engine_of(guarded)),
                pytest.raises(anthropic.APIStatusError, match=r"deadline of 0\.1 s") as told,
            ):
                list(claude.messages.create(**ask_claude, stream=stream))
            assert told.value.body["error"]["type"] == "timeout_error"  # type: ignore[index]
    messages = [[{"role": "user", "content": GERMAN}]] * 4
    batch = {"model": MODEL, "max_tokens": 450, "messages": messages, "ignore_eos": True}
    answer = guarded.http.post("/v1/chat/completions/batch", json=batch)
    assert answer.status_code == 504
    assert "deadline of 0.1 s" in answer.json()["error"]["message"]
    until(lambda: running(guarded) == 0)
    whole = 17 * 450  # of all answers, if the deadline ended none
    assert metric(guarded, "vllm:generation_tokens_total{") - before < whole / 2
    assert server_errors(guarded) - faults == 7, "what every client saw"
    assert len(log.read_text().splitlines()) - lines == 7, "a line for each"
    reload(guarded, config, log, configuration(f"{BOUNDS}, choices: 4"), "Configuration reloaded")


def reload(server: Server, config: Path, log: Path, text: str, expected: str) -> None:
    """Put a configuration in place, send the signal, and wait until the log says what is expected."""
    before = log.read_text().count(expected)
    config.write_text(text)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: log.read_text().count(expected) > before)


def test_ctrl_c_lets_a_stream_finish(guarded: Server) -> None:
    """It reaches all processes of the terminal's group, those of the engine too."""
    options = {"include_usage": True}
    with slowed(guarded):  # else the stream may be over, and the server gone, before somebody else asks
        stream = ask(guarded, stream=True, stream_options=options)
        first = next(stream)
        os.killpg(guarded.process.pid, signal.SIGINT)
        until(lambda: guarded.http.get("/ready").status_code == 503)
        with pytest.raises(openai.APIStatusError) as caught:
            ask(guarded)
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["Retry-After"]) > 0
    chunks = [first, *stream]
    assert chunks[-1].usage.completion_tokens == 450
    assert guarded.process.wait(60) == 0


def test_a_dead_engine_ends_everything_cleanly(endless: Server, usage_file: Path) -> None:
    failures: list[openai.APIError] = []
    readiness: list[int] = []

    def load() -> None:
        while endless.process.poll() is None:
            try:
                ask(endless, max_tokens=50)
            except openai.APIConnectionError:
                return  # the server is gone
            except openai.APIError as error:
                failures.append(error)

    def probe() -> None:
        with httpx.Client(base_url=endless.address, timeout=60) as prober, suppress(httpx.TransportError):
            while True:
                readiness.append(prober.get("/ready").status_code)

    last = {"Authorization": "Bearer last"}
    streams = [ask(endless, stream=True, n=2, max_tokens=ENDLESS_TOKENS, extra_headers=last) for _ in range(2)]
    for stream in streams:
        next(stream)
    engine_of(endless).suspend()  # else it has answered before the others have come
    front_end = psutil.Process(endless.process.pid)
    before = clients_of(front_end)
    threads = [threading.Thread(target=target) for target in (probe, load, load, load)]
    for thread in threads:
        thread.start()
    until(lambda: readiness and clients_of(front_end) >= before + len(threads))
    engine_of(endless).kill()
    for stream in streams:
        with pytest.raises(openai.APIError, match=r"EngineCore|[Ii]nternal") as caught:
            list(stream)
        assert not isinstance(caught.value, openai.APIConnectionError)
    for thread in threads:
        thread.join(60)
    # On a busy machine the server has ended before it is asked once more.
    assert {200} <= set(readiness) <= {200, 503}
    assert readiness == sorted(readiness), "not ready from then on"
    assert failures
    assert {getattr(error, "status_code", 0) for error in failures} <= {500, 503}
    assert all(error.body for error in failures), "each in OpenAI's shape"
    assert endless.process.wait(60) == 1
    assert used(usage_file, "last")[0] == 2, "also what ended with the engine is kept"


def used(usage_file: Path, key: str) -> tuple[int, int]:
    """Requests and answer tokens of ``key``, as the server has left them."""
    with closing(sqlite3.connect(usage_file)) as kept:
        found = kept.execute("SELECT sum(requests), sum(answer_tokens) FROM usage WHERE key = ?", (key,)).fetchone()
    return found[0] or 0, found[1] or 0


def test_what_a_stop_cuts_off_is_counted(checkpoint: Path, tmp_path: Path) -> None:
    usage_file, config = tmp_path / "usage.sqlite", tmp_path / "server.yaml"
    config.write_text(f"keys: {{user: {{sha256: {hash_key('user')}}}}}\nusage: {{file: {usage_file}}}")
    flags = (*ENDLESS, "--shutdown-timeout", "1", "--cc-config", str(config))
    with started(checkpoint, tmp_path / "log", *flags) as server:
        server.client = server.client.copy(api_key="user")
        streams = [ask(server, stream=True, max_tokens=ENDLESS_TOKENS) for _ in range(4)]
        for stream in streams:
            next(stream)
        server.process.terminate()
        for stream in streams:
            with pytest.raises(openai.APIError):
                list(stream)
        assert server.process.wait(60) == 0
    requests, tokens = used(usage_file, "user")
    assert requests == 4
    assert tokens >= 4


def test_an_engine_that_dies_at_the_start_is_one_line_at_the_end(checkpoint: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        command = [*serve_command(checkpoint, free_port()), *FLAGS]
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        until(lambda: engines_of(process.pid), START_SECONDS)
        engines_of(process.pid)[0].kill()
        assert process.wait(60) == 1, "a supervisor may try again"
    finally:
        process.kill()
    *_, last = log.read_text().splitlines()
    assert last.endswith("the engine could not start; its own messages are above"), last
