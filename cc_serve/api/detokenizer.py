"""Text of prompts that a client sends as token ids, so that they are routed like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

Detokenize = Callable[[Sequence[int]], str]

# Of a long prompt, so many tokens at either end are turned into text: routing reads no more.
_TOKENS: Final = 1_000


def no_text(_tokens: Sequence[int]) -> str:
    """Without a tokenizer, token ids are no text, and their language is undecided."""
    return ""


def detokenizer(engine: Any) -> Detokenize:
    """Turns token ids into text, control tokens included, which tell whose turn it is.

    Args:
        engine: vLLM's client, `AsyncLLM`. It may have been started without a tokenizer.
    """

    def detokenize(tokens: Sequence[int]) -> str:
        tokenizer = engine.tokenizer
        if tokenizer is None:
            return ""
        if len(tokens) > 2 * _TOKENS:
            tokens = [*tokens[:_TOKENS], *tokens[-_TOKENS:]]
        try:
            return str(tokenizer.decode(list(tokens), skip_special_tokens=False))
        except Exception:  # each tokenizer has its own error for an id out of its vocabulary; vLLM refuses the request
            return ""

    return detokenize
