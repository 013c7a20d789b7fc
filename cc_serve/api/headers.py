"""Single headers. Starlette's `Headers` copies all of them, and its `get` raises and catches an error for none."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Message, Scope


def header(message: Scope | Message, name: bytes) -> str | None:
    """The first header called ``name``, in lower case, of a request's scope or a response's start; None without one."""
    headers: Iterable[tuple[bytes, bytes]] = message["headers"]
    for given, value in headers:
        if given == name:
            return value.decode("latin-1")
    return None
