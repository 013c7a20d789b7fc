"""The pool of ``limits.concurrent_requests``: places for the requests of all callers, over all API processes.

The last eighth of the pool is kept for callers that hold less than their share. The shares divide the other seven
eighths among the callers that hold places, by weight. So a single caller may hold seven eighths, and a second one still
finds places at once. From then on, places that become free go to the second, until both have their shares. No place is
ever taken away, and nobody waits for one.
"""

from __future__ import annotations

import math
from ctypes import c_double, c_longlong
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Final

import numpy as np

from cc_core.terminal.text import counted
from cc_serve.api.drain import RETRY_AFTER_SECONDS
from cc_serve.api.tenants.limiter import PLACES, SHARE_OF_PLACES, Refusal

_KEPT: Final = 8
_SLOTS: Final = 4096
# A column for each slot, and one for the sum.
_COLUMNS: Final = _SLOTS + 1

#: Counts and weights. NumPy reads ctypes' arrays, though its types do not say so.
Memory = tuple[Any, Any]


@dataclass(frozen=True)
class Member:
    """A caller among others.

    Args:
        number: the caller's number, which is the same in all processes.
        weight: the weight of its share.
        who: whose the requests are, in the words of a refusal.
    """

    number: int
    weight: float
    who: str

    @property
    def slot(self) -> int:
        """The slot that it is counted in. Two callers rarely have the same slot; then they have one share together."""
        return self.number % _SLOTS


def shared_memory(context: BaseContext, count: int) -> Memory:
    """The memory for the pools of ``count`` processes."""
    return context.RawArray(c_longlong, count * _COLUMNS), context.RawArray(c_double, _SLOTS)


class Pool:
    """Counts the requests that run, in memory that the processes may share.

    Each process only writes its own counts. So there is no lock that a process could keep when it is killed; but
    processes that count at the same moment may each let in one request too many.

    Args:
        memory: the memory of all processes; by default, there is only this process.
        index: the number of this process.
    """

    def __init__(self, memory: Memory | None = None, index: int = 0) -> None:
        held, weights = memory or (np.zeros(_COLUMNS, np.int64), np.zeros(_SLOTS))
        self._held = np.frombuffer(held, np.int64).reshape(-1, _COLUMNS)
        self._mine = self._held[index]
        self._weights = np.frombuffer(weights)

    @property
    def running(self) -> int:
        """How many requests run."""
        return sum(self._held[:, -1].tolist())  # of so few numbers, faster than NumPy's sum

    def enter(self, most: int | None, member: Member | None = None) -> Refusal | None:
        """Count one more, unless there is no place for it.

        Args:
            most: how many places there are; None for any number.
            member: the caller; None if there are no others.

        Returns:
            None if the request was counted; otherwise, why not.
        """
        if member is not None:
            self._weights[member.slot] = member.weight
        if most is not None and (refusal := self._refusal(most, member)) is not None:
            return refusal
        self._add(1, member)
        return None

    def leave(self, member: Member | None = None) -> None:
        """Count one less."""
        self._add(-1, member)

    def _refusal(self, most: int, member: Member | None) -> Refusal | None:
        running = self.running
        if running >= most:
            message = f"the server is busy with {counted(running, 'request')}"
            return Refusal(PLACES, message, RETRY_AFTER_SECONDS, status=503)
        kept = min(math.ceil(most / _KEPT), most - 1)
        if member is None or running < most - kept:
            return None
        by_slot = self._held[:, :-1].sum(axis=0)
        held = int(by_slot[member.slot])
        active = by_slot > 0
        active[member.slot] = True
        if held < (most - kept) * (member.weight / self._weights[active].sum()):
            return None
        # 503, not 429: the server's load keeps the request out, and another server may have a place.
        message = (
            f"the server is busy with {counted(running, 'request')}, and {held} of them {'is' if held == 1 else 'are'} "
            f"{member.who}; the last {kept} of its {most} places are kept for others that hold less than their share"
        )
        return Refusal(SHARE_OF_PLACES, message, RETRY_AFTER_SECONDS, status=503)

    def _add(self, requests: int, member: Member | None) -> None:
        if member is not None:
            self._mine[member.slot] += requests
        self._mine[-1] += requests
