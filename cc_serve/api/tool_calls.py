"""Malformed tool calls in answers of the Messages API."""

from __future__ import annotations

import json
from typing import Any


def keep_malformed_calls(messages: Any) -> None:
    """Have malformed tool calls returned as text. vLLM would answer with an error, although the request was right.

    Args:
        messages: vLLM's handler of ``/v1/messages``, which is changed; None if the model has none.
    """
    if messages is None:
        return
    convert = messages.messages_full_converter

    def converting(response: Any) -> Any:
        for choice in response.choices:
            _tell_malformed_as_text(choice)
        return convert(response)

    messages.messages_full_converter = converting


def _tell_malformed_as_text(choice: Any) -> None:
    message = choice.message
    malformed = [call for call in message.tool_calls or () if not _is_object(call.function.arguments)]
    if not malformed:
        return
    message.tool_calls = [call for call in message.tool_calls if call not in malformed]
    message.content = (message.content or "") + "".join(call.function.arguments for call in malformed)
    if choice.finish_reason == "tool_calls" and not message.tool_calls:
        choice.finish_reason = "stop"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
