"""Malformed tool calls in vLLM's own converter of the Messages API."""

from __future__ import annotations

from typing import Any

import pytest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse

from cc_serve.api.tool_calls import keep_malformed_calls


def converted(*arguments: str, finish: str = "tool_calls", content: str | None = None) -> Any:
    """The message for a chat answer whose tool calls have these arguments."""
    calls = [{"type": "function", "function": {"name": "f", "arguments": text}} for text in arguments]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, "tool_calls": calls},
        "finish_reason": finish,
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    messages = AnthropicServingMessages.__new__(AnthropicServingMessages)  # its converter needs nothing of it
    keep_malformed_calls(messages)
    answer = ChatCompletionResponse.model_validate({"model": "m", "choices": [choice], "usage": usage})
    return messages.messages_full_converter(answer)


@pytest.mark.parametrize("arguments", ['{"city": "Bo', "[1]", "5", "null", "", "[" * 100_000], ids=lambda a: a[:12])
def test_a_malformed_call_is_text(arguments: str) -> None:
    message = converted(arguments)
    assert [(block.type, block.text) for block in message.content] == [("text", arguments)]
    assert message.stop_reason == "end_turn"
    assert converted(arguments, finish="length").stop_reason == "max_tokens"


def test_good_calls_stay() -> None:
    message = converted('{"a": 1}', "{", content="So: ")
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert (message.content[0].text, message.content[1].input) == ("So: {", {"a": 1})
    assert message.stop_reason == "tool_use"


def test_a_model_without_the_messages_api() -> None:
    keep_malformed_calls(None)
