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


class ChatError(ValueError):
    """The tokenizer cannot render a prompt or end an answer; the message says what is missing."""


class ChatEncoder:
    """Encodes prompts and answers as a chat server encodes them.

    A prompt is one user turn rendered with the tokenizer's chat template, generation prompt included; the template
    supplies ``bos``. An answer is its text and the token that ends the turn, so that the model learns to stop. Both
    are encoded on their own, so that no token spans the boundary and the anchor is the same token at serving.

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

        A longer prompt loses its oldest turns, except the system's, and then the beginning of the last user's text:
        the question usually stands at the end, and the anchor always does. The template around the text stays. None if
        even an empty user turn is too long.
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
        turns: list[dict[str, Any]] = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
        prompt = self.render(_PROBE)
        try:
            asked, whole = (str(self.tokenizer.apply_chat_template(t, tokenize=False)) for t in (turns[:1], turns))
        except Exception:  # the template cannot render an assistant's turn, so nothing stands between
            return
        between = whole[len(prompt) : whole.rfind(_PROBE)] if whole.startswith(prompt) else ""
        if prompt == asked and between.strip():
            raise ChatError(
                f"the chat template has no generation prompt: it writes {between!r} before an answer, but not at "
                f"the prompt's end; add to its end: {{% if add_generation_prompt %}}{{{{ {between!r} }}}}{{% endif %}}"
            )

    def _end_of_turn(self, stops: Collection[int]) -> list[int]:
        """What the template writes after an answer, up to the first token that ends generation; without it, ``eos``."""
        turns: list[dict[str, Any]] = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
        prompt = self.render(_PROBE)
        try:
            whole = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        except Exception:  # the template cannot render an assistant's turn, so it does not say how one ends
            whole = prompt
        tail = self.encode(whole[whole.rfind(_PROBE) + len(_PROBE) :]) if len(whole) > len(prompt) else []
        for index, token in enumerate(tail):
            if token in stops:
                return tail[: index + 1]
        if self.tokenizer.eos_token_id is None:
            raise ChatError("the tokenizer has no eos token, so no answer could ever end; set eos_token")
        return [self.tokenizer.eos_token_id]


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
