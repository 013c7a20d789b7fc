"""An event loop with a clock of its own, for tests of what happens when time has passed.

The clock moves on when nothing is left to do, straight to the next timer. So a test waits for nothing, and how busy
the machine is changes nothing of what it sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from selectors import DefaultSelector, SelectorKey
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Selector(DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        found = super().select(None if timeout is None else 0)
        if not found and timeout is not None:
            self.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._selected = _Selector()
        super().__init__(self._selected)

    def time(self) -> float:
        return self._selected.now


def run(talk: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run` by such a clock. Threads and other processes do not know it: ``talk`` must not wait for any."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(talk)
