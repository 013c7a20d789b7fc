"""Prompts and answers as token ids, the same in training and serving: chat template and end of a turn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from cc_train.data.template_options import with_options

PLAIN_TEMPLATE = "plain_chat.jinja"

Conversation = tuple[tuple[str, str], ...]
"""Turns, each a role and a text."""

# A text that stands for any other: only what the template writes around it is read.
_PROBE = "0"
_PROBE_TURNS = [{"role": role, "content": _PROBE} for role in ("user", "assistant")]


class ChatError(ValueError):
    """The tokenizer cannot render a prompt or end an answer; the message says what is missing."""


class ChatEncoder:
    """Encodes prompts and answers as a chat server encodes them.

    A prompt is one user turn, rendered with the tokenizer's chat template, which also writes ``bos`` and the generation
    prompt. An answer is its text and the tokens that end its turn, so that the model learns to stop. Prompt and answer
    are encoded apart: so no token spans their boundary, and the anchor is the same token in training and in serving.

    Args:
        tokenizer: without a template it gets the packaged ``templates/plain_chat.jinja``; saving the tokenizer then
            saves the template that was trained.
        generation_config: its ``eos_token_id`` says which tokens end a turn.
        options: of the template, which become its defaults, so that they too are saved with the tokenizer.

    Raises:
        ChatError: the template cannot render one user turn, does not begin the answer's turn when it is asked to, or
            no token can end an answer.
        TemplateOptionError: the template has no such option.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        generation_config: GenerationConfig | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.packaged_template = not tokenizer.chat_template
        if self.packaged_template:
            tokenizer.chat_template = files("cc_train").joinpath("templates", PLAIN_TEMPLATE).read_text("utf-8")
        if options:
            tokenizer.chat_template = _with_options(tokenizer.chat_template, options)
        self._require_generation_prompt()
        self.end = self._end_of_turn(stop_ids(tokenizer, generation_config))
        pad = tokenizer.pad_token_id
        self.pad_id: int = self.end[-1] if pad is None else pad

    def render(self, prompt: str | Conversation) -> str:
        """The prompt's text: one user turn, or a conversation that ends with one, and the generation prompt.

        Raises:
            ChatError: the template cannot render it.
        """
        turns = _turns(prompt)
        try:
            text = self.tokenizer.apply_chat_template(
                [{"role": role, "content": content} for role, content in turns],
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception as error:  # a template raises whatever its author chose
            what = "one user turn" if len(turns) == 1 else f"turns of {', '.join(role for role, _ in turns)}"
            raise ChatError(f"the chat template cannot render {what}: {error}") from error
        return str(text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered text. Special tokens in it are read as such; none is added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def prompt(self, prompt: str | Conversation, limit: int) -> list[int] | None:
        """Token ids of the prompt, at most ``limit`` of them.

        A longer prompt loses its oldest turns, but not the system's. If it is still too long, the last user's text
        loses its beginning, because the question usually stands at the end. The template around the text stays.

        Returns:
            The token ids; None if the prompt is too long even with an empty text.
        """
        ids = self.encode(self.render(prompt))
        if len(ids) <= limit:
            return ids
        *before, (asking, user) = _turns(prompt)
        system = [turn for turn in before[:1] if turn[0] == "system"]
        for start in range(len(system) + 1, len(before)):
            if before[start][0] == "user":
                ids = self.encode(self.render((*system, *before[start:], (asking, user))))
                if len(ids) <= limit:
                    return ids

        def last(kept: int) -> list[int]:
            return self.encode(self.render((*system, (asking, user[len(user) - kept :]))))

        best = last(0)
        if len(best) > limit:
            return None
        shortest, longest = 0, len(user)  # characters kept, from the right
        while shortest <= longest:
            keep = (shortest + longest + 1) // 2
            ids = last(keep)
            if len(ids) <= limit:
                best, shortest = ids, keep + 1
            else:
                longest = keep - 1
        return best

    def answer(self, text: str) -> list[int]:
        """Token ids of the answer and of the end of its turn."""
        return self.encode(text) + self.end

    def _require_generation_prompt(self) -> None:
        """Raise `ChatError` where only a finished answer has what the template writes between prompt and answer.

        Templates such as Mistral's write nothing there, and need no generation prompt.
        """
        prompt, whole = self.render(_PROBE), self._written(_PROBE_TURNS)
        if whole is None or not whole.startswith(prompt):
            return
        between = whole[len(prompt) : whole.rfind(_PROBE)]
        if prompt == self._written(_PROBE_TURNS[:1]) and between.strip():
            raise ChatError(
                f"the chat template has no generation prompt: it writes {between!r} before an answer, but not at "
                f"the prompt's end; add to its end: {{% if add_generation_prompt %}}{{{{ {between!r} }}}}{{% endif %}}"
            )

    def _end_of_turn(self, stops: Collection[int]) -> list[int]:
        """What the template writes after an answer, up to the first token that ends generation; without it, ``eos``."""
        prompt, whole = self.render(_PROBE), self._written(_PROBE_TURNS) or ""
        tail = self.encode(whole[whole.rfind(_PROBE) + len(_PROBE) :]) if len(whole) > len(prompt) else []
        for index, token in enumerate(tail):
            if token in stops:
                return tail[: index + 1]
        if self.tokenizer.eos_token_id is None:
            raise ChatError("the tokenizer has no eos token, so no answer could ever end; set eos_token")
        return [self.tokenizer.eos_token_id]

    def _written(self, turns: list[dict[str, str]]) -> str | None:
        """The turns as the template writes them, without a generation prompt; None if it cannot render them."""
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        except Exception:  # a template raises whatever its author chose
            return None


def _with_options(template: Any, options: Mapping[str, Any]) -> Any:
    """A tokenizer's template, or its templates by name, with options as their defaults."""
    if isinstance(template, dict):
        return {name: with_options(text, options) for name, text in template.items()}
    return with_options(template, options)


def _turns(prompt: str | Conversation) -> Conversation:
    return (("user", prompt),) if isinstance(prompt, str) else prompt


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None) -> set[int]:
    """The tokens that end generation: the generation configuration's ``eos_token_id`` and the tokenizer's own."""
    configured = getattr(generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return {i for i in [*listed, tokenizer.eos_token_id] if i is not None}
