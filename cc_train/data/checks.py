"""Checks that any field of a row has to pass."""

from __future__ import annotations

from typing import Any

_SHOWN = 80  # characters of a wrong value, in a message


class UnusableError(ValueError):
    """Why one row cannot be used."""


class MissingFieldError(UnusableError):
    """A field is missing."""

    def __init__(self, field: str, column: str) -> None:
        super().__init__(f"field {field!r} is missing" + (f" (column {column!r})" if column != field else ""))


def checked_text(value: Any, what: str) -> str:
    """``value``, if it is a text that can be trained on; ``what`` names it in the error."""
    if not isinstance(value, str):
        raise UnusableError(f"{what} is not a string (found {shown(value)})")
    if not value.strip():
        raise UnusableError(f"{what} is empty")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise UnusableError(f"{what} holds a lone surrogate, which is no text")
    return value


def shown(value: object) -> str:
    """A wrong value as a message shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
