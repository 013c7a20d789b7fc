"""Refuse fields of a wrong shape, where vLLM would answer 500 or a Python error that names no field; and answers that
would outlive their request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cc_serve.api.errors import RefusedError
from cc_serve.api.json_parts import is_true
from cc_serve.paths import BATCH_PATH

# The fields of a message that may hold a list of objects.
_PARTS: Final = ("content", "tool_calls")


def prompt_field(path: str) -> str:
    """The field that holds the prompt in requests to ``path``."""
    path = path.removesuffix("/render")
    if path.endswith("/responses"):
        return "input"
    conversation = ("/chat/completions", "/messages", "/count_tokens", "/batch", "/chat")
    return "messages" if path.endswith(conversation) else "prompt"


def refuse_background(fields: Mapping[str, Any], path: str) -> None:
    """Raise `RefusedError` for a response that would go on after its request.

    It would then hold no place of its key or of the server, and its tokens would count in no rate, budget or usage.
    """
    if path.endswith("/responses") and is_true(fields.get("background")):
        raise RefusedError(
            "'background' is not served: an answer that outlives its request would count in no limit and in no usage; "
            "leave it out, and wait for the answer or stream it",
            "background",
        )


def refuse_odd_shapes(fields: Mapping[str, Any], path: str) -> None:
    """Raise `RefusedError` for the first field of ``fields`` whose shape its endpoint does not know.

    Args:
        fields: a request's body.
        path: of the endpoint.
    """
    form = fields.get("structured_outputs")
    if form is not None and not isinstance(form, dict):
        raise RefusedError("'structured_outputs' must be an object", "structured_outputs")
    _require_schema(fields.get("response_format"))
    if (tools := fields.get("tools")) is not None:
        _require_objects(tools, "tools", "tools")
    prompt = prompt_field(path)
    if prompt == "input" and isinstance(given := fields.get("input"), dict | list):
        _require_objects(given, "input", "input")
        _refuse_odd_parts(given, "input")
    # A batch has lists of lists. Where messages are optional, null stands for none.
    required = prompt == "messages" and "messages" in fields
    messages = fields.get("messages")
    if path != BATCH_PATH and (required or messages is not None):
        _require_objects(messages, "messages", "messages", "with a role and content")
        _refuse_odd_parts(messages, "messages")


def _require_schema(wanted: Any) -> None:
    """Require the schema, which OpenAI's API lets a client leave out, but no backend of vLLM does."""
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        named = wanted.get("json_schema")
        if isinstance(named, dict) and not isinstance(named.get("schema"), dict):
            raise RefusedError("'response_format.json_schema.schema' must be an object", "response_format")


def _refuse_odd_parts(messages: Any, field: str) -> None:
    for position, message in enumerate(messages):
        for name in _PARTS:
            if isinstance(parts := message.get(name), list):
                _require_objects(parts, f"{field}.{position}.{name}", field, strings=name == "content")


def _require_objects(value: object, place: str, field: str, more: str = "", *, strings: bool = False) -> None:
    """Require a list of objects, or of objects and ``strings``."""
    if not isinstance(value, list):
        raise RefusedError(f"{place!r} must be a list of objects", field)
    for position, item in enumerate(value):
        if not isinstance(item, dict) and not (strings and isinstance(item, str)):
            raise RefusedError(f"'{place}.{position}' must be an object {more}".rstrip(), field)
