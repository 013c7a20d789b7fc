"""What a hostile or broken client sends to the real server: it answers every time, and goes on answering."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_serve.paths import CONNECTED_PATHS, PLAIN_PATHS
from tests.support.server import MODEL, Server

GERMAN = "Wo ist der Bahnhof, bitte?"
CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
PATHS = sorted(CONNECTED_PATHS | PLAIN_PATHS)
# The 501 is vLLM's for what a model cannot do; whatever else begins with a 5 is a defect, and in `VLLMS_OWN` vLLM's.
ANSWERS = frozenset({200, 400, 404, 405, 411, 413, 415, 422, 431, 501})
# Integers beyond 64 bits, which its message to the engine has no form for.
VLLMS_OWN = frozenset({"top_k", "X-Vllm-Priority"})


@pytest.fixture(autouse=True)
def goes_on(server: Server) -> Iterator[None]:
    """The server still answers, and has nothing left to do."""
    yield
    completion, headers = server.chat(GERMAN)
    assert completion.choices[0].message.content
    assert headers["X-CC-Connection"] == "de"
    assert running(server) == 0


def running(server: Server) -> float:
    """How many requests the engine works on, once that has come to rest."""
    end = time.monotonic() + 120
    while True:
        metrics = server.http.get("/metrics").text
        left = sum(map(float, re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (.+)$", metrics, re.MULTILINE)))
        if left == 0 or time.monotonic() > end:
            return left
        time.sleep(0.05)


def post(server: Server, path: str, content: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
    return server.http.post(path, content=content, headers=headers)


def check(response: httpx.Response) -> None:
    """Answered, by name, and an error is one that clients understand."""
    assert response.status_code in ANSWERS, response.text
    assert response.headers["X-Request-Id"]
    if response.status_code >= 400:
        error = response.json()["error"]
        assert isinstance(error["message"], str)


def body(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 1, **more}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\udcff" * 50, "\u202e" + "a" * 20, "🏳️‍🌈" * 20], ids=ascii)
def test_odd_text(server: Server, path: str, text: str) -> None:
    content = json.dumps(body(text) | {"prompt": text, "input": text}).encode()
    check(post(server, path, content))


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_long_prompts_are_refused(server: Server, size: int) -> None:
    start = time.monotonic()
    response = post(server, CHAT, json.dumps(body("Wo ist der Bahnhof? " * (size // 20))).encode())
    assert response.status_code in (400, 413)
    check(response)
    assert time.monotonic() - start < 120, "not a measurement: it must not hang"


def test_many_messages(server: Server) -> None:
    messages = [{"role": role, "content": "a"} for _ in range(5000) for role in ("user", "assistant")]
    response = post(server, CHAT, json.dumps(body("") | {"messages": messages}).encode())
    assert response.status_code == 400
    check(response)


@pytest.mark.parametrize("depth", [50, 300, 500, 700, 900, 990, 1_000, 2_000, 50_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_json(server: Server, depth: int, opening: str) -> None:
    deep = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    content = json.dumps(body(GERMAN))[:-1] + f', "metadata": {deep}}}'
    check(post(server, CHAT, content.encode()))


@pytest.mark.parametrize(
    "content", [b'{"prompt": "\xff\xfe"}', b"\x00", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16")]
)
def test_bad_encodings(server: Server, content: bytes) -> None:
    response = post(server, "/v1/completions", content)
    check(response)
    assert response.status_code == 400


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "9" * 400, "9" * 10_000, "-0.0"])
@pytest.mark.parametrize("field", ["temperature", "max_tokens", "n", "seed", "top_k"])
def test_odd_numbers(server: Server, field: str, number: str) -> None:
    content = json.dumps({"model": MODEL, "prompt": "123", "max_tokens": 1, field: "?"}).replace('"?"', number)
    response = post(server, "/v1/completions", content.encode())
    if response.status_code != 500 or field not in VLLMS_OWN:
        check(response)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cc_connection": "de"},
        {"cc_connection": ["de"]},
        {"cc_connection": 1},
        {"kv_transfer_params": "x"},
        {"kv_transfer_params": {"do_remote_prefill": True}},
        {"ec_transfer_params": ["x"]},
        {"cc_tenant": [1], "cc_weight": 1e-320},
        {"session_id": "x" * 10_000},
        {"a": 2**70},
        {"a": [1e999]},
        {"a" * 100_000: 1},
        {f"a{i}": i for i in range(5_000)},
        {"connection_marks": "x", "_block_hasher": 1, "__class__": "x"},
        "cc_connection",
        [["cc_connection", "de"]],
        {"CC_CONNECTION": "de", "cc_connection ": "de"},
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_engine_arguments_name_no_connection_and_no_state(server: Server, path: str, arguments: object) -> None:
    response = post(server, path, json.dumps(body("123") | {"prompt": "123", "vllm_xargs": arguments}).encode())
    check(response)
    if response.status_code == 200:
        assert response.headers["X-CC-Connection"] == "off"


def test_the_last_of_equal_fields_counts_for_all(server: Server) -> None:
    smuggled = (
        b'{"model": "tiny", "prompt": "123", "max_tokens": 1, "vllm_xargs": {}, "vllm_xargs": {"cc_connection": "de"}}'
    )
    assert post(server, "/v1/completions", smuggled).status_code == 400
    hidden = (
        b'{"model": "tiny", "prompt": "123", "max_tokens": 1, "vllm_xargs": {"cc_connection": "de"}, "vllm_xargs": {}}'
    )
    assert post(server, "/v1/completions", hidden).headers["X-CC-Connection"] == "off"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Long": "a" * 60_000},
        {f"X-{i}": "a" for i in range(500)},
        {"X-Request-Id": "a" * 50_000},
        {"X-Request-Id": "\x7f<script>"},
        {"Content-Type": "application/json; charset=utf-7"},
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"X-data-parallel-rank": "7"},
        {"X-Vllm-Priority": "99999999999999999999"},
        {"X-Session-ID": "a" * 10_000},
        {"traceparent": "nonsense", "tracestate": "x" * 5_000},
        {"Authorization": "Bearer " + "a" * 50_000},
        {"Host": "evil/../../admin"},
    ],
)
def test_odd_headers(server: Server, headers: dict[str, str]) -> None:
    response = post(server, CHAT, json.dumps(body("123")).encode(), {**JSON, **headers})
    assert response.status_code in (ANSWERS | {500} if headers.keys() & VLLMS_OWN else ANSWERS)


def test_a_claimed_length_that_is_not_sent_holds_up_nobody(server: Server) -> None:
    with slow(server, b'{"model"') as connection:
        assert server.chat(GERMAN)[0].choices
        connection.sendall(b"}")
        assert server.chat(GERMAN)[0].choices


def slow(server: Server, start: bytes, length: int = 1000) -> socket.socket:
    """A connection that has sent its headers and the ``start`` of a body."""
    url = httpx.URL(server.address)
    connection = socket.create_connection((url.host, url.port), timeout=120)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + start)
    return connection


def test_connections_that_are_opened_and_dropped(server: Server) -> None:
    whole = json.dumps(body(GERMAN, stream=True) | {"max_tokens": 200, "ignore_eos": True}).encode()
    for _ in range(10):
        connections = [slow(server, start, len(whole)) for start in [b"", b"{", whole[:50], whole, whole] * 10]
        for number, connection in enumerate(connections):
            if number % 5 == 3:
                connection.recv(100)
            connection.close()
        assert server.http.get("/live").status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        *("prompt", "input", "messages", "stream", "n", "temperature", "stop", "tools", "tool_choice", "seed"),
        *(
            "response_format",
            "logprobs",
            "top_logprobs",
            "logit_bias",
            "vllm_xargs",
            "cc_connection",
            "use_beam_search",
        ),
        *("structured_outputs", "stream_options", "echo", "priority", "truncate_prompt_tokens", "prompt_logprobs"),
        *(
            "chat_template_kwargs",
            "add_generation_prompt",
            "continue_final_message",
            "documents",
            "mm_processor_kwargs",
        ),
        *(
            "prompt_embeds",
            "prompt_token_ids",
            "kv_transfer_params",
            "session_id",
            "cache_salt",
            "request_id",
            "system",
        ),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(PATHS), more=st.dictionaries(fields, json_values, max_size=3))
def test_any_fields(server: Server, path: str, more: dict[str, Any]) -> None:
    content = json.dumps({"max_output_tokens": 1} | body("a") | more | {"model": MODEL, "max_tokens": 1}).encode()
    check(post(server, path, content))


names = st.text(st.sampled_from("abcXYZ-0_"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(headers=st.dictionaries(names, st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)))
def test_any_headers(server: Server, headers: dict[str, str]) -> None:
    check(post(server, "/v1/completions", b'{"model": "tiny", "prompt": "1", "max_tokens": 1}', {**headers, **JSON}))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from([*PATHS, "/v1/route", "/tokenize"]), content=st.binary(max_size=200))
def test_any_bytes(server: Server, path: str, content: bytes) -> None:
    response = post(server, path, content)
    check(response)
    assert response.status_code >= 400
