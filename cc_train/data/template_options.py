"""Options of a chat template, such as ``enable_thinking``, written into the template as its defaults.

The checkpoint's template then renders prompts as training did wherever it is served, without a flag. A request that
sets the option itself still overrides it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

# What renders the prompt sets these itself, and the functions that templates may call.
_FIXED: Final = frozenset(
    {"messages", "add_generation_prompt", "continue_final_message", "tools", "documents"}
    | {"raise_exception", "strftime_now"}
)
# A block of transformers' own, which says what a template's answers are.
_GENERATION: Final = re.compile(r"{%-?\s*(end)?generation\s*-?%}")


class TemplateOptionError(ValueError):
    """Options cannot be read, or one is none of the template's; the message is one line."""


def parse_options(text: str | None) -> dict[str, Any]:
    """Options by name, from JSON; none from None.

    Raises:
        TemplateOptionError: it is no JSON object.
    """
    try:
        options = json.loads(text or "{}")
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise TemplateOptionError('must be a JSON object, such as {"enable_thinking": false}')
    return options


def with_options(template: str, options: Mapping[str, Any]) -> str:
    """``template`` with ``options`` as its defaults.

    Raises:
        TemplateOptionError: the template reads no such option, or a value has no literal.
    """
    unknown = [name for name in options if name not in (read := options_of(template))]
    if unknown:
        there = ", ".join(sorted(read)) or "none"
        raise TemplateOptionError(f"the chat template reads no option {unknown[0]!r}; it reads: {there}")
    defaults = "".join(
        f"{{% set {name} = {name} if {name} is defined else {_literal(name, value)} %}}"
        for name, value in options.items()
    )
    # The empty expression keeps a line's end at the template's beginning, which a block would take away.
    return f"{defaults}{{{{ '' }}}}{template}" if defaults else template


def options_of(template: str) -> set[str]:
    """The names that a template reads and a request may set; none if it is no template."""
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        read = meta.find_undeclared_variables(environment.parse(_GENERATION.sub("", template)))
    except TemplateError:
        return set()
    return {name for name in read if not name.endswith("_token")} - _FIXED


def _literal(name: str, value: Any) -> str:
    """A value as Jinja writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool | int | float | str):
        return json.dumps(value)
    raise TemplateOptionError(f"option {name!r} is none of true, false, null, a number and a text")
