"""What a request may ask for, by the fields that ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from cc_serve.api.telemetry.metrics import count_limit
from cc_serve.config.configuration import Limits

_CHOICES: Final = ("n", "best_of")
_OUTPUT_TOKENS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# What may hold several prompts, each of which is routed.
_PROMPTS: Final = ("prompt", "messages")
# Where requests say what form an answer shall have, and the parts of it that take long to compile.
_FORMS: Final = ("structured_outputs", "response_format", "text", "output_config", "tools")
_PATTERNS: Final = ("regex", "grammar", "pattern", "choice", "enum", "const")
_PATTERN_NAMES: Final = "patternProperties"
# Schemas that may also be sent as JSON within JSON.
_SCHEMAS: Final = ("json", "structural_tag")

# Reads numbers as the endpoints do, which take "3" and 3.0 for 3.
_INTEGER: Final = TypeAdapter(int)


def excess(request: Mapping[str, Any], limits: Limits) -> tuple[str, str] | None:
    """The first field that asks for more than ``limits`` allow: what is wrong, and its name. None if there is none."""
    bounds = (("choices", _CHOICES, limits.choices), ("output_tokens", _OUTPUT_TOKENS, limits.output_tokens))
    for limit, names, most in bounds:
        if most is None:
            continue
        for name in names:
            value = _integer(request[name]) if name in request else None
            if value is not None and value > most:
                count_limit(limit)
                return f"{name!r} is {str(value)[:20]}; this server allows at most {most}", name
    for name in _PROMPTS:
        prompts = request.get(name)
        # Token ids make up one prompt, and messages one conversation.
        if isinstance(prompts, list) and len(prompts) > limits.sequences and isinstance(prompts[0], str | list):
            count_limit("sequences")
            return f"{name!r} has {len(prompts)} prompts; this server allows at most {limits.sequences}", name
    for name in _FORMS:
        size = sum(map(len, _patterns(request.get(name))))
        if size > limits.pattern_characters:
            count_limit("pattern_characters")
            return (
                f"the regular expressions and grammars of {name!r} have {size} characters; this server allows at most "
                f"{limits.pattern_characters}",
                name,
            )
    return None


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
