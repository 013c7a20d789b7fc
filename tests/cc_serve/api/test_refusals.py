"""Regression tests for the published weaknesses of this kind of server, against the real one with its defaults."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import httpx
import pytest
import torch

from tests.support.server import MODEL, Server

GERMAN = "Wo ist der Bahnhof, bitte?"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": GERMAN}], "max_tokens": 4}
COMPLETION = {"model": MODEL, "prompt": GERMAN, "max_tokens": 4}
# Renders a billion times, or reads what no template should.
TEMPLATES = ("{% for i in range(10**9) %}x{% endfor %}", "{{ ''.__class__.__mro__[1].__subclasses__() }}")


def refused(server: Server, path: str, body: dict[str, Any]) -> str:
    """The message of a refusal of the client's doing."""
    response = server.http.post(path, json=body)
    assert response.status_code == 400, response.text
    message: str = response.json()["error"]["message"]
    return message


@pytest.fixture(autouse=True)
def alive(server: Server) -> Any:
    """Whatever was sent, the server goes on answering."""
    yield
    assert server.http.post("/v1/chat/completions", json=CHAT).status_code == 200
    assert server.http.get("/ready").status_code == 200


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize", "/invocations", "/v1/chat/completions/batch"])
def test_templates_in_the_request(server: Server, path: str, template: str) -> None:
    body = {**CHAT, "messages": [CHAT["messages"]]} if path.endswith("batch") else CHAT
    for field in ({"chat_template": template}, {"chat_template_kwargs": {"chat_template": template}}):
        assert "untrusted chat template" in refused(server, path, {**body, **field})


@pytest.mark.parametrize("value", [129, 10_000, 16_384, 10**9, "129", 1e9])
@pytest.mark.parametrize("field", ["n", "best_of"])
def test_an_unbounded_number_of_answers(server: Server, field: str, value: object) -> None:
    assert "at most 128" in refused(server, "/v1/chat/completions", {**CHAT, field: value})
    assert "at most 128" in refused(server, "/v1/completions", {**COMPLETION, field: value, "use_beam_search": True})


def test_an_unbounded_number_of_prompts(server: Server) -> None:
    assert "1024" in refused(server, "/v1/completions", {**COMPLETION, "prompt": ["a"] * 1025})
    assert "at most 1024" in refused(server, "/v1/completions", {**COMPLETION, "prompt": [[5]] * 9, "n": 128})


@pytest.mark.parametrize(
    "pattern", ["(a|b)?" * 2000, "|".join(f"w{number}(a|b){{1,50}}" for number in range(1000)), "(a+)+" * 1000]
)
def test_a_regular_expression_that_takes_long_to_compile(server: Server, pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    for field in (
        {"structured_outputs": {"regex": pattern}},
        {"structured_outputs": {"json": schema}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
    ):
        assert "at most 4096" in refused(server, "/v1/chat/completions", {**CHAT, **field})


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a{1,1000}){1,1000}", "((a|b)?){10000}"])
def test_a_regular_expression_that_backtracking_would_never_finish(server: Server, pattern: str) -> None:
    """It is matched by an automaton, which takes time in proportion to the text."""
    response = server.http.post("/v1/chat/completions", json={**CHAT, "structured_outputs": {"regex": pattern}})
    assert response.status_code == 200
    assert set(response.json()["choices"][0]["message"]["content"]) <= {"a", "b"}


def test_a_schema_of_any_depth(server: Server) -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(300):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert "nested too deeply" in refused(server, "/v1/chat/completions", {**CHAT, "response_format": form})


class Exploit:
    """What a pickle would call on being loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (3600,)


@pytest.mark.parametrize(
    "payload", [torch.zeros(2, 64), torch.sparse_coo_tensor([[0], [99]], [1.0], (2, 64)), Exploit()]
)
def test_prompts_as_tensors(server: Server, payload: object) -> None:
    file = io.BytesIO()
    torch.save(payload, file)
    encoded = base64.b64encode(file.getvalue()).decode()
    body = {"model": MODEL, "max_tokens": 4}
    for fields in ({"prompt_embeds": encoded}, {"prompt_embeds": [encoded]}, {"prompt": "a", "prompt_embeds": encoded}):
        assert "--enable-prompt-embeds" in refused(server, "/v1/completions", {**body, **fields})


@pytest.mark.parametrize("host", ["x/live?", "127.0.0.1/../live", "", "a" * 2000])
def test_a_host_that_is_none(server: Server, host: str) -> None:
    assert server.http.get("/v1/models", headers={"Host": host}).status_code in (200, 400)


def test_a_large_body_by_default(server: Server) -> None:
    with httpx.Client(base_url=server.address, timeout=60) as client:
        assert client.post("/v1/completions", content=b"[" * ((8 << 20) + 1)).status_code == 413
