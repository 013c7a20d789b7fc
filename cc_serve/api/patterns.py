"""Patterns and schemas that xgrammar misreads or cannot follow; they are refused by name before generation begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from cc_serve.api.json_parts import objects_in, parsed
from cc_serve.api.vllm import SamplingParams, VLLMValidationError

_FIELD: Final = "structured_outputs"
_NAMES: Final = "patternProperties"
# The beginnings of the messages of vLLM's xgrammar backend about a schema.
_OF_SCHEMAS: Final = ("Failed to transform json schema into a grammar: ", "The provided JSON schema contains features ")
# An escape of one character; the beginning or end of a class; POSIX's names, which stand in classes only.
_TOKEN: Final = re.compile(r"\\.|\[:\w+:\]|\[|\]", re.DOTALL)


def refuse_misread_patterns(parameters: SamplingParams) -> None:
    """Refuse ``\\p{...}``, ``\\P{...}`` and ``[:name:]`` in character classes: xgrammar reads them as plain characters.

    Outside of character classes, xgrammar refuses them itself.

    Raises:
        VLLMValidationError: a pattern has one of them.
    """
    wanted = parameters.structured_outputs
    if wanted is None:
        return
    for pattern in _patterns([{"regex": wanted.regex}, parsed(wanted.json), parsed(wanted.structural_tag)]):
        if misread := misread_part(pattern):
            raise VLLMValidationError(
                f"{misread} in a character class of the pattern {pattern[:80]!r} is not supported; "
                "name ranges of characters instead, such as [\\u0600-\\u06FF]",
                parameter=_FIELD,
            )


def named_schema_error(error: Exception) -> Exception:
    """``error``; or, if xgrammar cannot follow a schema, an error that names the fields which may hold the schema."""
    message = str(error.args[0]) if isinstance(error, VLLMValidationError) else ""
    if not message.startswith(_OF_SCHEMAS):
        return error
    return VLLMValidationError(
        "a JSON schema in structured_outputs, response_format, text, output_config or a function of tools cannot be "
        f"followed: {message}",
        parameter=_FIELD,
    )


def misread_part(pattern: str) -> str | None:
    """The first part of a character class in ``pattern`` that xgrammar misreads, or None."""
    inside = False
    for token in _TOKEN.findall(pattern):
        if inside and (token in ("\\p", "\\P") or len(token) > 2):
            return str(token)
        if token == "]":
            inside = False
        elif not token.startswith("\\"):
            inside = True
    return None


def _patterns(whole: object) -> Iterator[str]:
    """The regular expressions in JSON schemas and structural tags."""
    for part in objects_in(whole):
        yield from (part[name] for name in ("regex", "pattern") if isinstance(part.get(name), str))
        yield from part[_NAMES] if isinstance(part.get(_NAMES), dict) else ()
