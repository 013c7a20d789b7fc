"""The model's tokenizer and chat template, as routing needs them.

They find the user's words in the prompts of completions, which clients send rendered, as text or as token ids. They
also show whether a request's options for the template make its prompt end in other tokens than in training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from cc_core.language.template import ChatFrame

# How many tokens of a long prompt are turned into text, at either end; routing reads no more.
_TOKENS: Final = 1_000
# The characters of the longest options for the template that are tried, as JSON: it may take long with longer ones.
_OPTIONS_LENGTH: Final = 1_000
_TURN: Final = "\ue000turn\ue001"  # of private-use characters, which no template writes or trims


class RawPrompts:
    """Reads prompts with the model's own tokenizer and chat template.

    Args:
        engine: vLLM's client, `AsyncLLM`. Without one, or without its tokenizer, token ids have no text.
        chat_template: the template that the server was started with; None for the tokenizer's own.
        options: the server's own options for the template.
    """

    def __init__(
        self, engine: Any = None, chat_template: str | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self._engine: Final = engine
        self._rendering: Final = {"tokenize": False, "add_generation_prompt": True, "chat_template": chat_template}
        self._options: Final = dict(options or {})
        self._end: Final = lru_cache(maxsize=64)(self._end_of)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a prompt, with its control tokens, which show whose turn it is; empty if it has no text."""
        if (tokenizer := self._tokenizer) is None:
            return ""
        if len(tokens) > 2 * _TOKENS:
            tokens = [*tokens[:_TOKENS], *tokens[-_TOKENS:]]
        try:
            return str(tokenizer.decode(list(tokens), skip_special_tokens=False))
        except Exception:  # each tokenizer has its own error for an id out of its vocabulary; vLLM refuses the request
            return ""

    def user_turns(self, prompt: str) -> list[str]:
        """The user's turns in ``prompt``, the newest first; all of it if the model's template did not render it."""
        return (self._frame and self._frame.user_turns(prompt)) or [prompt]

    def ends_as_ever(self, options: Mapping[str, Any]) -> bool:
        """Whether the template writes the same after the last turn with ``options`` as without; False if unknown."""
        if not options:
            return True
        text = json.dumps(options, sort_keys=True)
        if len(text) > _OPTIONS_LENGTH:
            return False
        end = self._end(text)
        return end is not None and end == self._end("{}")

    def _end_of(self, options: str) -> str | None:
        if (tokenizer := self._tokenizer) is None:
            return None
        more = self._options | json.loads(options)
        if more.keys() & self._rendering.keys():
            return None
        try:
            rendered = str(
                tokenizer.apply_chat_template([{"role": "user", "content": _TURN}], **self._rendering, **more)
            )
        except Exception:  # as above; or the template refuses the options, and then the endpoint does so, too
            return None
        _, turn, end = rendered.partition(_TURN)
        return end if turn else None

    @property
    def _tokenizer(self) -> Any:
        return None if self._engine is None else self._engine.tokenizer

    @cached_property
    def _frame(self) -> ChatFrame | None:
        if (tokenizer := self._tokenizer) is None:
            return None
        try:
            return ChatFrame.of(lambda messages: str(tokenizer.apply_chat_template(messages, **self._rendering)))
        except Exception:  # each its own error: a tokenizer without a template, a template that wants other messages
            return None


NO_TOKENIZER: Final = RawPrompts()
