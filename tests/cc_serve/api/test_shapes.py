"""Shapes that no endpoint knows are refused by their place, and those that one knows are let through."""

from __future__ import annotations

from typing import Any

import pytest

from cc_serve.api.errors import RefusedError
from cc_serve.api.rendering import RENDERING_PATHS
from cc_serve.api.shapes import prompt_field, refuse_odd_shapes
from cc_serve.paths import CONNECTED_PATHS, PLAIN_PATHS

USER: dict[str, Any] = {"role": "user", "content": "a"}
CHAT = ("/v1/chat/completions", "/v1/messages", "/cohere/v2/chat", "/v1/chat/completions/render", "/invocations")


@pytest.mark.parametrize("path", CHAT)
@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"messages": [None]}, "messages.0"),
        ({"messages": [USER, "a"]}, "messages.1"),
        ({"messages": {}}, "messages"),
        ({"messages": [USER, {"role": "user", "content": [None]}]}, "messages.1.content.0"),
        ({"messages": [{"role": "user", "content": [[]]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "assistant", "tool_calls": [None]}]}, "messages.0.tool_calls.0"),
        ({"messages": [{"role": "assistant", "tool_calls": ["a"]}]}, "messages.0.tool_calls.0"),
        ({"messages": [USER], "tools": [None]}, "tools.0"),
        ({"messages": [USER], "tools": 1}, "tools"),
        ({"messages": [USER], "tools": {}}, "tools"),
        ({"messages": [USER], "structured_outputs": [None]}, "structured_outputs"),
        (
            {"messages": [USER], "response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_the_place_is_named(path: str, fields: dict[str, Any], place: str) -> None:
    with pytest.raises(RefusedError, match=f"^'{place}' must be") as caught:
        refuse_odd_shapes(fields, path)
    assert caught.value.param == place.split(".")[0]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"input": [None]}, "input.0"),
        ({"input": {}}, "input"),
        ({"input": [{"role": "user", "content": [None]}]}, "input.0.content.0"),
        ({"input": "a", "tools": 1}, "tools"),
    ],
)
def test_the_place_in_a_response_is_named(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(RefusedError, match=f"^'{place}' must be"):
        refuse_odd_shapes(fields, "/v1/responses")


@pytest.mark.parametrize("path", sorted(CONNECTED_PATHS | PLAIN_PATHS | RENDERING_PATHS))
def test_what_is_known_is_let_through(path: str) -> None:
    turns = [{**USER, "content": ["a", {"type": "text", "text": "b"}]}, {"role": "assistant", "tool_calls": None}]
    messages: Any = [turns] if path.endswith("batch") else turns
    given: Any = {"messages": messages, "prompt": ["a"], "input": turns}[prompt_field(path)]
    refuse_odd_shapes({prompt_field(path): given, "tools": [{}], "structured_outputs": {}}, path)
    refuse_odd_shapes({prompt_field(path): given, "tools": None, "structured_outputs": None}, path)


def test_messages_may_be_null_where_they_are_optional() -> None:
    refuse_odd_shapes({"prompt": "a", "messages": None}, "/v1/completions")
    with pytest.raises(RefusedError, match=r"^'messages' must be"):
        refuse_odd_shapes({"messages": None}, "/v1/chat/completions")
