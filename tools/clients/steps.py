"""What every client's program does: four steps, each of which passes or says why not, as JSON lines.

It needs nothing but the standard library, since each client has an environment of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

ENGLISH: Final = "What is the capital of Kenya?"
GERMAN: Final = "Wo ist der Bahnhof, bitte?"
#: No checkpoint has a connection of this name.
UNKNOWN: Final = "no-such-connection"
TOKENS: Final = 8
ADDRESS: Final = os.environ.get("CLIENTS_ADDRESS", "")
MODEL: Final = os.environ.get("CLIENTS_MODEL", "")

Step = Callable[[], None]


class StepError(AssertionError):
    """The client got something else than it should have."""


def run(plain: Step, connected: Step, streamed: Step, refused: Step) -> None:
    """Take the four steps, and print how each went.

    Args:
        plain: asks in English, and finds that the answer was not connected.
        connected: asks in German, and finds that it was.
        streamed: asks in German, and gets the answer piece by piece, and its usage where the client tells it.
        refused: names an unknown connection, and gets the client's own error.
    """
    steps = {"plain": plain, "connected": connected, "streamed": streamed, "refused": refused}
    for name, step in steps.items():
        problem = None
        try:
            step()
        except Exception as error:  # any, by whatever library
            problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        print(json.dumps({"step": name, "problem": problem}), flush=True)


def require(condition: object, what: str) -> None:
    """Raise `StepError` unless ``condition`` holds."""
    if not condition:
        raise StepError(what)


def require_connection(headers: Mapping[str, Any], *, connected: bool, name: str = "x-cc-connection") -> None:
    """Look for the connection among an answer's headers, where ``name`` is what the client calls that header."""
    found = {str(key).lower(): value for key, value in headers.items()}.get(name)
    require(found is not None, f"no header {name} in {sorted(headers)}")
    require((found != "off") is connected, f"{name} is {found}")


def require_refusal(error: object) -> None:
    """Look for the server's reason in the client's error."""
    require(UNKNOWN in str(error), f"the error does not tell the reason: {error}")
