"""The phases of a start. Each process announces the phase that it enters; the process at the terminal shows it.

The engine's processes import this module early, so it only imports the standard library.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final

#: Environment variable that names a file, to which every process of the server appends the phases that it enters.
#: The engine's processes inherit it.
PHASES_FILE: Final = "CC_SERVE_START_PHASES"

CHECKPOINT: Final = "checking the checkpoint"
IMPORT: Final = "importing vLLM"
ENGINE: Final = "starting the engine's process"
WEIGHTS: Final = "loading the weights"
COMPILE: Final = "compiling, or reading what an earlier start compiled"
WARM_UP: Final = "warming up"
GRAPHS: Final = "capturing CUDA graphs"
CACHE: Final = "making room for the KV cache"
API: Final = "opening the API"


def in_a_start() -> bool:
    """Whether this process belongs to a server that is starting."""
    return PHASES_FILE in os.environ


def enter_phase(name: str) -> None:
    """Announce that this process enters the phase ``name``. Does nothing if nobody watches, as under stock vLLM."""
    if path := os.environ.get(PHASES_FILE):
        with suppress(OSError):  # the start is over, and the file is gone
            file = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, f"{time.monotonic()} {name}\n".encode())
            finally:
                os.close(file)
