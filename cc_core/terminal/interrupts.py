"""Ctrl-C while the program imports its libraries."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """End in KeyboardInterrupt if SIGINT arrived inside, whatever the code there made of it.

    An import may turn the exception into another one, or drop it: a class body's ``__set_name__`` raises RuntimeError
    instead, and optional modules are imported under ``except``.
    """
    seen = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which never sees a signal
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if seen:
            raise KeyboardInterrupt
