"""What a generation request says. Only this module knows the shapes of OpenAI's and Anthropic's bodies.

Fields of another shape than it knows are left out: to validate the request is the endpoint's work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from cc_core.names import AUTO, OFF
from cc_serve.api.errors import RefusedError
from cc_serve.api.paths import BATCH_PATH, DETAILED_PATHS
from cc_serve.config.configuration import Limits
from cc_serve.payloads import ENGINE_ARGUMENT, OVERRIDE_FIELD

#: Set to true, the answer tells what the connection did.
DETAILS_FIELD: Final = "cc_details"
_ENGINE_ARGUMENTS: Final = "vllm_xargs"
# What vLLM's scheduler reads from the engine's arguments.
_ENGINE_STATE: Final = ("kv_transfer_params", "ec_transfer_params", "kv_cache_report_mode")
# The kinds of content part that carry text, in chat and in responses.
_TEXT_PARTS: Final = ("text", "input_text")

_CHOICES: Final = ("n", "best_of")
_OUTPUT_TOKENS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# The fields that may hold several prompts, each of which is routed.
_PROMPTS: Final = ("prompt", "messages")
# The fields that say what form an answer shall have, and those parts of them that take long to compile.
_FORMS: Final = ("structured_outputs", "response_format", "text", "output_config", "tools")
_PATTERNS: Final = ("regex", "grammar", "pattern", "choice", "enum", "const")
_PATTERN_NAMES: Final = "patternProperties"
# Schemas that may also be sent as JSON within JSON.
_SCHEMAS: Final = ("json", "structural_tag")

# Reads numbers as the endpoints do, which take "3" and 3.0 for 3.
_INTEGER: Final = TypeAdapter(int)


class GenerationRequest:
    """The fields of one request, and what this server takes from them and puts into them.

    Args:
        fields: the body's JSON object.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.changed = False

    @property
    def override(self) -> object:
        """The connection or language that the client names, as it sent it; ``auto`` where it names none."""
        override = self.fields.get(OVERRIDE_FIELD)
        return AUTO if override is None else override

    @property
    def overridden(self) -> bool:
        """Whether the client names a connection or language."""
        return self.override != AUTO

    @property
    def beam_search(self) -> bool:
        """Whether it asks for vLLM's beam search."""
        return self.fields.get("use_beam_search") not in (None, False)

    @property
    def prompts(self) -> list[str]:
        """The texts that one request has answered separately: prompts of completions, newest user turns of a batch.

        Empty for one conversation, and for prompts that are not text.
        """
        messages = self.fields.get("messages")
        if messages is not None or self.fields.get("input") is not None:
            batch = isinstance(messages, list) and all(isinstance(conversation, list) for conversation in messages)
            return [next(_newest_user_turns(conversation), "") for conversation in messages or []] if batch else []
        prompt = self.fields.get("prompt")
        if isinstance(prompt, list) and all(isinstance(item, str) for item in prompt):
            return list(prompt)
        return [prompt] if isinstance(prompt, str) else []

    @property
    def texts(self) -> list[str]:
        """The user's words, the newest turn first; empty where there are none.

        They come from ``messages`` (chat), ``input`` (responses) or ``prompt`` (completions).
        """
        if (messages := self.fields.get("messages")) is not None:
            return list(_newest_user_turns(messages))
        if (given := self.fields.get("input")) is not None:
            return [given] if isinstance(given, str) else list(_newest_user_turns(given))
        return self.prompts

    def wants_details(self, path: str) -> bool:
        """Whether the answer shall tell what the connection did. Raises `RefusedError` where that cannot be."""
        wanted = self.fields.get(DETAILS_FIELD, False)
        if not isinstance(wanted, bool):
            raise RefusedError(f"{DETAILS_FIELD} must be true or false", DETAILS_FIELD)
        if wanted and path not in DETAILED_PATHS:
            raise RefusedError(f"{DETAILS_FIELD} is answered by {' and '.join(sorted(DETAILED_PATHS))}", DETAILS_FIELD)
        return wanted

    def check(self, path: str) -> None:
        """Refuse engine arguments that vLLM takes unvalidated, and shapes that it answers with an unclear error.

        Raises:
            RefusedError: it has one of them.
        """
        arguments = self.fields.get(_ENGINE_ARGUMENTS)
        if isinstance(arguments, dict):
            _refuse_engine_state(arguments)
        _refuse_odd_shapes(self.fields, path)

    def connect(self, connection: str) -> None:
        """Put ``connection`` where vLLM hands it to the engine, and take out the fields that are only this server's."""
        for field in (OVERRIDE_FIELD, DETAILS_FIELD):
            if field in self.fields:
                del self.fields[field]
                self.changed = True
        arguments = self.fields.get(_ENGINE_ARGUMENTS)
        if connection != OFF and (arguments is None or isinstance(arguments, dict)):
            self.fields[_ENGINE_ARGUMENTS] = {**(arguments or {}), ENGINE_ARGUMENT: connection}
            self.changed = True


class Excess(NamedTuple):
    """A field that asks for more than the limits allow.

    Args:
        limit: the limit's name.
        message: what is wrong.
        field: the name of the field.
    """

    limit: str
    message: str
    field: str


def find_excess(fields: Mapping[str, Any], limits: Limits) -> Excess | None:
    """The first field that asks for more than ``limits`` allow, or None."""
    bounds = (("choices", _CHOICES, limits.choices), ("output_tokens", _OUTPUT_TOKENS, limits.output_tokens))
    for limit, names, most in bounds:
        for name in names if most is not None else ():
            value = _integer(fields[name]) if name in fields else None
            if most is not None and value is not None and value > most:
                return Excess(limit, f"{name!r} is {str(value)[:20]}; this server allows at most {most}", name)
    for name in _PROMPTS:
        prompts = fields.get(name)
        # A list of token ids is one prompt, and a list of messages one conversation.
        if isinstance(prompts, list) and len(prompts) > limits.sequences and isinstance(prompts[0], str | list):
            message = f"{name!r} has {len(prompts)} prompts; this server allows at most {limits.sequences}"
            return Excess("sequences", message, name)
    for name in _FORMS:
        size = sum(map(len, _patterns(fields[name]))) if name in fields else 0
        if size > limits.pattern_characters:
            message = (
                f"the regular expressions and grammars of {name!r} have {size} characters; this server allows at most "
                f"{limits.pattern_characters}"
            )
            return Excess("pattern_characters", message, name)
    return None


def prompt_field(path: str) -> str:
    """The field that holds the prompt in requests to ``path``."""
    if path.endswith("/responses"):
        return "input"
    return "messages" if path.endswith(("/chat/completions", "/messages", "/batch", "/chat")) else "prompt"


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
    if ENGINE_ARGUMENT in arguments:
        raise RefusedError(
            f"{ENGINE_ARGUMENT!r} belongs at the top level of the body, not into {_ENGINE_ARGUMENTS!r}",
            _ENGINE_ARGUMENTS,
        )
    for name in _ENGINE_STATE:
        if name in arguments:
            raise RefusedError(f"{name!r} cannot be set through {_ENGINE_ARGUMENTS!r}; remove it", _ENGINE_ARGUMENTS)


def _refuse_odd_shapes(fields: Mapping[str, Any], path: str) -> None:
    # vLLM would answer with an error of Python's that names no field, or with status 500.
    form, messages = fields.get("structured_outputs"), fields.get("messages")
    if form is not None and not isinstance(form, dict):
        raise RefusedError("'structured_outputs' must be an object", "structured_outputs")
    if messages is None or path == BATCH_PATH:  # a batch has lists of lists
        return
    if not isinstance(messages, list):
        raise RefusedError("'messages' must be a list of objects", "messages")
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            raise RefusedError(f"'messages.{position}' must be an object with a role and content", "messages")


def _integer(value: object) -> int | None:
    """``value`` as an endpoint would read it; None where it would refuse it."""
    try:
        return _INTEGER.validate_python(value)
    except ValidationError:
        return None


def _patterns(form: object) -> Iterator[str]:
    """The regular expressions, grammars and choices anywhere in ``form``."""
    pending = [form]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            for name, value in part.items():
                if name in _PATTERNS and isinstance(value, str | list):
                    yield from (
                        item for item in ([value] if isinstance(value, str) else value) if isinstance(item, str)
                    )
                if name == _PATTERN_NAMES and isinstance(value, dict):
                    yield from value
                pending.append(_parsed(value) if name in _SCHEMAS and isinstance(value, str) else value)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
