"""The model's tokenizer and chat template, as routing needs them.

They find the user's words in prompts of completions, which clients send rendered, as text or as token ids. And they
say whether a request's options for the template make prompts end elsewhere than in training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from cc_core.language.template import ChatFrame

# Of a long prompt, so many tokens at either end are turned into text: routing reads no more.
_TOKENS: Final = 1_000
# Longer options for the template, as JSON, are not tried: the template may take long over them.
_OPTIONS_LENGTH: Final = 1_000
_TURN: Final = "\ue000turn\ue001"  # no template writes or trims these characters


class RawPrompts:
    """Reads prompts by the model's own tokenizer and chat template.

    Args:
        engine: vLLM's client, `AsyncLLM`. Without one, or if it was started without a tokenizer, token ids are no text.
        chat_template: the template that the server was started with; None for the tokenizer's own.
        options: the server's own options for the template.
    """

    def __init__(
        self, engine: Any = None, chat_template: str | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self._engine: Final = engine
        self._chat_template: Final = chat_template
        self._options: Final = dict(options or {})
        self._end: Final = lru_cache(maxsize=64)(self._end_of)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a prompt, control tokens included, which tell whose turn it is; empty if it has none."""
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

    def ends_as_ever(self, options: Mapping[str, Any]) -> bool:
        """Whether prompts end behind the last turn as they do without ``options``; False where that cannot be told."""
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
        fixed = {"tokenize": False, "add_generation_prompt": True, "chat_template": self._chat_template}
        if more.keys() & fixed.keys():
            return None
        try:
            rendered = str(tokenizer.apply_chat_template([{"role": "user", "content": _TURN}], **fixed, **more))
        except Exception:  # as above, and for options that the template refuses, as the endpoint then does
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
        options = {"tokenize": False, "add_generation_prompt": True, "chat_template": self._chat_template}
        try:
            return ChatFrame.of(lambda messages: str(tokenizer.apply_chat_template(messages, **options)))
        except Exception:  # a tokenizer without a template, or a template that wants other messages: each its own error
            return None


NO_TOKENIZER: Final = RawPrompts()
