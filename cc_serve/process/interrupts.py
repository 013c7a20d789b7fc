"""Ctrl-C while the program still imports its libraries."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Remembers SIGINT while it is entered, and raises KeyboardInterrupt as Python does.

    An import may turn that exception into another one, or drop it: a class body's ``__set_name__`` raises RuntimeError
    instead, and optional modules are imported under ``except``. ``seen`` tells what it was.
    """

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def raise_if_seen(self) -> None:
        """Raise KeyboardInterrupt if there was one."""
        if self.seen:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        raise KeyboardInterrupt
