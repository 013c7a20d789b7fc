"""A null anywhere within a request is taken as absent, or refused by the name of a field around it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import MODEL, Server

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "now", "parameters": PARAMETERS}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
QUESTION = "Wo ist der Bahnhof, bitte?"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "Kurz."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": "Ich sehe nach.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "sonnig"},
            {"role": "user", "content": QUESTION, "name": "anna"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "none",
        "stop": ["#"],
        "logit_bias": {"5": 1.0},
        "stream_options": {"include_usage": True},
        "stream": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS}},
        "chat_template_kwargs": {"a": 1},
        "vllm_xargs": {"a": "b"},
        "metadata": {"a": "b"},
    },
    "/v1/completions": {
        "prompt": [QUESTION, QUESTION],
        "stop": ["#"],
        "logit_bias": {"5": 1.0},
        "structured_outputs": {"choice": ["a", "b"]},
    },
    "/v1/responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "sonnig"},
        ],
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": "none",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": PARAMETERS}},
        "metadata": {"a": "b"},
    },
    "/v1/messages": {
        "system": [{"type": "text", "text": "Kurz."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "weather", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "sonnig"}]},
        ],
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["#"],
        "output_config": {"format": {"type": "json_schema", "schema": PARAMETERS}},
        "metadata": {"user_id": "a"},
    },
}
Place = tuple[str | int, ...]


def places(content: Any, within: Place = ()) -> Iterator[Place]:
    """The place of each value in ``content``."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in items:
        yield (*within, name)
        yield from places(value, (*within, name))


def with_null(content: Any, place: Place) -> Any:
    changed = copy.deepcopy(content)
    around = changed
    for name in place[:-1]:
        around = around[name]
    around[place[-1]] = None
    return changed


@pytest.mark.parametrize("path", BODIES)
def test_a_null_anywhere_is_absent_or_named(server: Server, path: str) -> None:
    body = {"model": MODEL, "max_output_tokens" if path == "/v1/responses" else "max_tokens": 16, **BODIES[path]}
    problems = []
    for place in [(), *places(body)]:
        content = json.dumps(with_null(body, place) if place else body)
        response = server.http.post(path, content=content, headers={"Content-Type": "application/json"})
        named = any(isinstance(name, str) and name in response.text for name in place)
        python = "'NoneType' object" in response.text
        if response.status_code != 200 and (response.status_code != 400 or python or not named):
            problems.append(f"{'.'.join(map(str, place))}: {response.status_code} {response.text[:200]}")
    assert not problems, "\n".join(problems)
