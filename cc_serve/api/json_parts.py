"""Parts of the JSON that clients send: objects at any depth, found without recursion, and flags."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

_BOOLEAN: Final = TypeAdapter(bool)


def objects_in(whole: object, encoded: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Each object in ``whole``.

    Args:
        whole: parsed JSON.
        encoded: names of fields whose strings are JSON themselves.
    """
    pending = [whole]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            yield part
            pending += (parsed(value) if name in encoded else value for name, value in part.items())


def parsed(value: object) -> object:
    """The content of a string of JSON, None if it is none; any other value unchanged."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def is_true(value: object) -> bool:
    """Whether an endpoint reads ``value`` as true, such as "on" and 1; False for what an endpoint refuses."""
    try:
        return _BOOLEAN.validate_python(value)
    except ValidationError:
        return False
