"""A request's id, which is the same in the response, the log and the engine."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

_NAME: Final = b"x-request-id"
# Harmless in a header, a log, the name of a file and a terminal.
_USABLE: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:=+/@-]{0,127}")


def with_request_id(scope: Scope) -> tuple[Scope, str]:
    """A scope whose headers have the request's id exactly once, and the id. vLLM names its own requests after it.

    The client's ``X-Request-Id`` is kept if it has 1 to 128 letters, digits and ``._:=+/@-``, a letter or digit first.
    Anything else is replaced by a new id.
    """
    sent = [value for name, value in scope["headers"] if name == _NAME]
    if len(sent) == 1 and _USABLE.fullmatch(sent[0]):
        return scope, sent[0].decode("ascii")
    request_id = secrets.token_hex(16)
    return {**scope, "headers": named(scope["headers"], request_id)}, request_id


def named(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """``headers`` with the request's id exactly once."""
    return [*(header for header in headers if header[0] != _NAME), (_NAME, request_id.encode("ascii"))]
