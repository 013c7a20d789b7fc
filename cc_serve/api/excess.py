"""Whether a generation request asks for more than the limits allow, read from its fields before it is routed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from cc_serve.api.json_parts import is_true, objects_in
from cc_serve.api.vllm import CompletionRequest
from cc_serve.config.configuration import Limits

_CHOICES: Final = ("n", "best_of")
_OUTPUT_TOKENS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# The fields that may hold several prompts, all of which are routed.
_PROMPTS: Final = ("prompt", "messages")
# The fields with the form that an answer must have, and the parts of them that take long to compile.
_FORMS: Final = ("structured_outputs", "response_format", "text", "output_config", "tools")
_PATTERNS: Final = ("regex", "grammar", "pattern", "choice", "enum", "const")
_PATTERN_NAMES: Final = "patternProperties"
# Schemas that may also be a string of JSON.
_SCHEMAS: Final = ("json", "structural_tag")

# Reads numbers as the endpoints do, which read "3" and 3.0 as 3.
_INTEGER: Final = TypeAdapter(int)
# The length that vLLM gives to a completion that names none.
_COMPLETION_TOKENS: Final[int] = CompletionRequest.model_fields["max_tokens"].default


class Excess(NamedTuple):
    """A field that asks for more than the limits allow.

    Args:
        limit: the limit's name, for metrics.
        message: what is wrong, for the client.
        field: the name of the field.
    """

    limit: str
    message: str
    field: str


def find_excess(fields: Mapping[str, Any], limits: Limits) -> Excess | None:
    """The first field that asks for more than ``limits`` allow, or None."""
    bounds = (("choices", _CHOICES, limits.choices), ("output_tokens", _OUTPUT_TOKENS, limits.output_tokens))
    for limit, names, most in bounds:
        for name in filter(fields.__contains__, names):
            value = _integer(fields[name])
            if most is not None and value is not None and value > most:
                return Excess(limit, f"{name!r} is {str(value)[:20]}; this server allows at most {most}", name)
    # Other answers get the limit as their length where the engine is called. Beam search counts its steps by itself.
    if (
        limits.output_tokens is not None
        and is_true(fields.get("use_beam_search"))
        and _is_endless(fields, limits.output_tokens)
    ):
        message = f"beam search needs 'max_tokens'; this server allows at most {limits.output_tokens}"
        return Excess("output_tokens", message, "max_tokens")
    for name in _PROMPTS:
        prompts = fields.get(name)
        # A list of token ids is one prompt, and a list of messages one conversation.
        if isinstance(prompts, list) and len(prompts) > limits.sequences and isinstance(prompts[0], str | list):
            message = f"{name!r} has {len(prompts)} prompts; this server allows at most {limits.sequences}"
            return Excess("sequences", message, name)
    for name in filter(fields.__contains__, _FORMS):
        size = sum(map(len, _patterns(fields[name])))
        if size > limits.pattern_characters:
            message = (
                f"the regular expressions and grammars of {name!r} have {size} characters; this server allows at most "
                f"{limits.pattern_characters}"
            )
            return Excess("pattern_characters", message, name)
    return None


def _is_endless(fields: Mapping[str, Any], most: int) -> bool:
    """Whether a request names no length, and its answer may have more than ``most`` tokens."""
    if "prompt" in fields:  # of a completion, which reads one field
        return fields.get("max_tokens") is None and most < _COMPLETION_TOKENS
    return all(fields.get(name) is None for name in ("max_tokens", "max_completion_tokens"))


def _integer(value: object) -> int | None:
    """``value`` as an endpoint would read it; None if the endpoint would refuse it."""
    try:
        return _INTEGER.validate_python(value)
    except ValidationError:
        return None


def _patterns(form: object) -> Iterator[str]:
    """The regular expressions, grammars and choices anywhere in ``form``."""
    for part in objects_in(form, _SCHEMAS):
        for name in _PATTERNS:
            value = part.get(name)
            yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))
        if isinstance(names := part.get(_PATTERN_NAMES), dict):
            yield from names
