"""What a generation request asks for. Only this module, `cc_serve.api.excess` and `cc_serve.api.shapes` know the bodies
of OpenAI's and Anthropic's APIs.

The first two ignore fields of an unknown shape: the endpoint validates the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cc_core.names import AUTO, OFF, OVERRIDE_FIELD, is_strength
from cc_serve.api.errors import RefusedError
from cc_serve.api.shapes import refuse_background, refuse_odd_shapes
from cc_serve.paths import DETAILED_PATHS
from cc_serve.payloads import DIGEST, ENGINE_ARGUMENT, STRENGTH, TENANT, WEIGHT

#: If true, the answer tells what the connection did.
DETAILS_FIELD: Final = "cc_details"
TEMPLATE_OPTIONS: Final = "chat_template_kwargs"
_ENGINE_ARGUMENTS: Final = "vllm_xargs"
# Arguments that vLLM's scheduler or ours reads, and that no client may set.
_ENGINE_STATE: Final = ("kv_transfer_params", "ec_transfer_params", "kv_cache_report_mode", TENANT, WEIGHT, DIGEST)
# The kinds of content part that carry text, in chat and in responses.
_TEXT_PARTS: Final = ("text", "input_text")


class GenerationRequest:
    """The fields of one request: what this server reads from them and writes into them.

    Args:
        fields: the JSON object in the body.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.changed = False

    @property
    def override(self) -> object:
        """The connection or language that the client names, unchecked; ``auto`` if it names none."""
        override = self.fields.get(OVERRIDE_FIELD)
        return AUTO if override is None else override

    @property
    def overridden(self) -> bool:
        """Whether the client names a connection or language."""
        return self.override != AUTO

    @property
    def user(self) -> str | None:
        """The user that the request names, in its API's field; None if it names none.

        ``prompt_cache_key`` names no user, since all users of a prompt share it.
        """
        fields = self.fields
        metadata = fields.get("metadata")
        of_anthropic = metadata.get("user_id") if isinstance(metadata, dict) else None
        names = (fields.get("user"), fields.get("safety_identifier"), of_anthropic)
        return next((name for name in names if isinstance(name, str) and name), None)

    @property
    def beam_search(self) -> bool:
        """Whether it asks for vLLM's beam search."""
        return self.fields.get("use_beam_search") not in (None, False)

    @property
    def anchor_mover(self) -> str | None:
        """The field that may make the prompt end in other tokens than in training; None without such a field.

        `template_options` may also do so.
        """
        fields = self.fields
        if fields.get("messages") is None and fields.get("input") is None:
            return None  # a completion's prompt ends where its text does
        if fields.get("add_generation_prompt") is False:
            return "add_generation_prompt"
        for name in ("continue_final_message", "chat_template"):
            if fields.get(name):
                return name
        last = given[-1] if isinstance(given := fields.get("input"), list) and given else None
        unfinished = isinstance(last, dict) and last.get("status") in ("in_progress", "incomplete")
        return "input" if unfinished else None

    @property
    def template_options(self) -> dict[str, Any]:
        """What vLLM hands to the chat template: the request's options, and those that vLLM derives from its effort."""
        if self.fields.get("messages") is None and self.fields.get("input") is None:
            return {}
        given = self.fields.get(TEMPLATE_OPTIONS)
        options = dict(given) if isinstance(given, dict) else {}
        if (effort := self._effort) is not None:
            options = {"enable_thinking": effort != "none", **options, "reasoning_effort": effort}
        return options

    @property
    def _effort(self) -> object:
        for name in ("reasoning", "output_config"):
            if isinstance(group := self.fields.get(name), dict) and group.get("effort") is not None:
                return group["effort"]
        thinking = self.fields.get("thinking")
        disabled = isinstance(thinking, dict) and thinking.get("type") == "disabled"
        return "none" if disabled else self.fields.get("reasoning_effort")

    @property
    def batch(self) -> list[str]:
        """The newest user turn of each conversation in a batch; empty if the request is no batch."""
        messages = self.fields.get("messages")
        batch = isinstance(messages, list) and all(isinstance(conversation, list) for conversation in messages)
        return [next(_newest_user_turns(conversation), "") for conversation in messages or []] if batch else []

    @property
    def prompts(self) -> list[str]:
        """The prompts of a completion, if they are text; empty if they are token ids, or if there are messages."""
        prompt = self._prompt
        if isinstance(prompt, list) and all(isinstance(item, str) for item in prompt):
            return list(prompt)
        return [prompt] if isinstance(prompt, str) else []

    @property
    def token_prompts(self) -> list[list[int]]:
        """The prompts of a completion, if they are token ids; empty if they are text, or if there are messages."""
        prompts = [self._prompt] if _are_tokens(self._prompt) else self._prompt
        return prompts if isinstance(prompts, list) and prompts and all(map(_are_tokens, prompts)) else []

    @property
    def _prompt(self) -> object:
        conversation = self.fields.get("messages") is not None or self.fields.get("input") is not None
        return None if conversation else self.fields.get("prompt")

    @property
    def texts(self) -> list[str]:
        """The user's turns, the newest first; empty if there are none.

        They come from ``messages`` (chat), ``input`` (responses) or ``prompt`` (completions).
        """
        if (messages := self.fields.get("messages")) is not None:
            return list(_newest_user_turns(messages))
        if (given := self.fields.get("input")) is not None:
            return [given] if isinstance(given, str) else list(_newest_user_turns(given))
        return self.prompts

    def wants_details(self, path: str) -> bool:
        """Whether the client wants the answer to tell what the connection did. Raises `RefusedError` if it cannot."""
        wanted = self.fields.get(DETAILS_FIELD)
        if wanted is None:
            return False
        if not isinstance(wanted, bool):
            raise RefusedError(f"{DETAILS_FIELD} must be true or false", DETAILS_FIELD)
        if wanted and path not in DETAILED_PATHS:
            raise RefusedError(
                f"only {' and '.join(sorted(DETAILED_PATHS))} answer {DETAILS_FIELD}; leave it out", DETAILS_FIELD
            )
        return wanted

    def strength(self, allowed: tuple[float, float]) -> float:
        """The factor of the connection's vector. Raises `RefusedError` if it is not within ``allowed``."""
        wanted = self.fields.get(STRENGTH)
        if wanted is None:
            return 1.0
        lowest, highest = allowed
        if not is_strength(wanted) or not lowest <= wanted <= highest:
            shown = repr(wanted)[:40]
            raise RefusedError(
                f"{STRENGTH} is {shown}; this server takes numbers from {lowest:g} to {highest:g}", STRENGTH
            )
        return float(wanted)

    def check(self, path: str) -> None:
        """Refuse engine arguments that vLLM does not check, fields of a wrong shape, and answers in the background.

        Raises:
            RefusedError: the request has one of these.
        """
        arguments = self.fields.get(_ENGINE_ARGUMENTS)
        if isinstance(arguments, dict):
            _refuse_engine_state(arguments)
        refuse_odd_shapes(self.fields, path)
        refuse_background(self.fields, path)

    def connect(self, connection: str, strength: float = 1.0) -> None:
        """Put ``connection`` where vLLM hands it to the engine, and remove the fields that only this server knows."""
        for field in (OVERRIDE_FIELD, DETAILS_FIELD, STRENGTH):
            if field in self.fields:
                del self.fields[field]
                self.changed = True
        arguments = self.fields.get(_ENGINE_ARGUMENTS)
        if connection != OFF and (arguments is None or isinstance(arguments, dict)):
            scaled = {} if strength == 1 else {STRENGTH: strength}
            self.fields[_ENGINE_ARGUMENTS] = {**(arguments or {}), ENGINE_ARGUMENT: connection, **scaled}
            self.changed = True


def _are_tokens(prompt: object) -> bool:
    return isinstance(prompt, list) and len(prompt) > 0 and all(type(token) is int for token in prompt)


def _newest_user_turns(messages: object) -> Iterator[str]:
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            text = _content_text(message.get("content"))
            if text:
                yield text


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") in _TEXT_PARTS)
    return "\n\n".join(part for part in parts if isinstance(part, str))


def _refuse_engine_state(arguments: Mapping[str, Any]) -> None:
    for name in (ENGINE_ARGUMENT, STRENGTH):
        if name in arguments:
            raise RefusedError(
                f"{name!r} belongs at the top level of the body, not into {_ENGINE_ARGUMENTS!r}", _ENGINE_ARGUMENTS
            )
    for name in _ENGINE_STATE:
        if name in arguments:
            raise RefusedError(f"{name!r} cannot be set through {_ENGINE_ARGUMENTS!r}; remove it", _ENGINE_ARGUMENTS)
