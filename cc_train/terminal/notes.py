"""What a person should read while a command works, line by line."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

Say = Callable[[str], object]
"""Receives a line."""


def note(line: str) -> None:
    """Print a line on stderr, wrapped at the terminal's width."""
    Console(stderr=True).print(escape(line), highlight=False)


def silent(_line: str) -> None:
    """Say nothing."""
