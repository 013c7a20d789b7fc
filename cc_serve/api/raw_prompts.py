"""The user's words in prompts of completions, which clients send rendered, as text or as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from cc_core.language.template import ChatFrame

# Of a long prompt, so many tokens at either end are turned into text: routing reads no more.
_TOKENS: Final = 1_000


class RawPrompts:
    """Reads prompts by the model's own tokenizer and chat template.

    Args:
        engine: vLLM's client, `AsyncLLM`. Without one, or if it was started without a tokenizer, token ids are no text.
        chat_template: the template that the server was started with; None for the tokenizer's own.
    """

    def __init__(self, engine: Any = None, chat_template: str | None = None) -> None:
        self._engine: Final = engine
        self._chat_template: Final = chat_template

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a prompt, control tokens included, which tell whose turn it is; empty where it has none."""
        if (tokenizer := self._tokenizer) is None:
            return ""
        if len(tokens) > 2 * _TOKENS:
            tokens = [*tokens[:_TOKENS], *tokens[-_TOKENS:]]
        try:
            return str(tokenizer.decode(list(tokens), skip_special_tokens=False))
        except Exception:  # each tokenizer has its own error for an id out of its vocabulary; vLLM refuses the request
            return ""

    def user_turns(self, prompt: str) -> list[str]:
        """The user's turns in a prompt that the model's template rendered, the newest first; else the whole prompt."""
        return (self._frame and self._frame.user_turns(prompt)) or [prompt]

    @property
    def _tokenizer(self) -> Any:
        return None if self._engine is None else self._engine.tokenizer

    @cached_property
    def _frame(self) -> ChatFrame | None:
        if (tokenizer := self._tokenizer) is None:
            return None
        options = {"tokenize": False, "add_generation_prompt": True, "chat_template": self._chat_template}
        try:
            return ChatFrame.of(lambda messages: str(tokenizer.apply_chat_template(messages, **options)))
        except Exception:  # a tokenizer without a template, or a template that wants other messages: each its own error
            return None


NO_TOKENIZER: Final = RawPrompts()
