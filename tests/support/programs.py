"""The commands that are installed beside the Python that runs."""

from __future__ import annotations

import sys
from pathlib import Path


def installed(name: str) -> str:
    """The path of a command such as ``cc-serve`` or ``locust``, whether it is there or not."""
    return str(Path(sys.executable).with_name(name))


def serve_command(checkpoint: Path, port: int) -> list[str]:
    """``cc-serve serve`` on a port; its flags are for the caller to add."""
    return [installed("cc-serve"), "serve", str(checkpoint), "--port", str(port)]
