"""The queue of waiting requests: tenants take turns, and the requests of one tenant come in order.

This is start-time fair queueing. Each tenant has a time for its next turn, on a clock that counts turns. The tenant
with the earliest time is next, and its time then moves on by one over its weight. A tenant that asked for nothing
meanwhile does not get more turns for that later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from vllm.v1.core.sched.request_queue import RequestQueue
from vllm.v1.request import Request, RequestStatus

from cc_serve.payloads import LEAST_WEIGHT, MOST_WEIGHT, TENANT, WEIGHT


@dataclass
class _Line:
    """One tenant's waiting requests, and the time of its next turn."""

    turn: float
    requests: deque[Request] = field(default_factory=deque)


class TurnQueue(RequestQueue):
    """vLLM's queue, with turns. Requests without a tenant count as those of one tenant, in the order of arrival.

    A preempted request goes before all others. A request that vLLM puts back before it has run, for example while its
    grammar is compiled, goes to the front of its tenant's line.
    """

    def __init__(self) -> None:
        self._front: deque[Request] = deque()
        self._lines: dict[int | None, _Line] = {}
        self._now = 0.0

    def add_request(self, request: Request) -> None:
        """Put the request at the end of its tenant's line."""
        line = self._lines.setdefault(_tenant(request), _Line(self._now))
        if not line.requests:
            line.turn = max(line.turn, self._now)
        line.requests.append(request)

    def pop_request(self) -> Request:
        """Take the next request, which uses up a turn of its tenant."""
        if self._front:
            return self._front.popleft()
        line = self._next_line()
        request = line.requests.popleft()
        self._now = line.turn
        line.turn += 1 / _weight(request)
        self._forget_idle()
        return request

    def peek_request(self) -> Request:
        """The request that `pop_request` would take."""
        return self._front[0] if self._front else self._next_line().requests[0]

    def prepend_request(self, request: Request) -> None:
        """Put a request back. If it has not run, its tenant gets the turn back."""
        if request.status == RequestStatus.PREEMPTED:
            self._front.appendleft(request)
            return
        line = self._lines.setdefault(_tenant(request), _Line(self._now))
        # Not before the clock: a tenant whose requests cannot run yet must not save up turns.
        line.turn = max(line.turn - 1 / _weight(request), self._now)
        line.requests.appendleft(request)

    def prepend_requests(self, requests: Iterable[Request]) -> None:
        """Put requests back, so that the last of them comes first, as in vLLM's own queue."""
        for request in requests:
            self.prepend_request(request)

    def remove_request(self, request: Request) -> None:
        """Take a request out, wherever it waits."""
        self.remove_requests([request])

    def remove_requests(self, requests: Iterable[Request]) -> None:
        """Take requests out, wherever they wait."""
        gone = set(requests)
        for queue in (self._front, *(line.requests for line in self._lines.values())):
            if any(request in gone for request in queue):
                kept = [request for request in queue if request not in gone]
                queue.clear()
                queue.extend(kept)

    def __bool__(self) -> bool:
        return bool(self._front) or any(line.requests for line in self._lines.values())

    def __len__(self) -> int:
        return len(self._front) + sum(len(line.requests) for line in self._lines.values())

    def __iter__(self) -> Iterator[Request]:
        """All waiting requests, though not in the order of their turns."""
        return chain(self._front, *(line.requests for line in self._lines.values()))

    def _next_line(self) -> _Line:
        # Of lines with equal times, `min` takes the first, which is the one that came first.
        waiting = (line for line in self._lines.values() if line.requests)
        line = min(waiting, key=lambda line: line.turn, default=None)
        if line is None:
            raise IndexError("no request is waiting")
        return line

    def _forget_idle(self) -> None:
        """Drop empty lines that do not differ from that of a new tenant."""
        for tenant in [name for name, line in self._lines.items() if not line.requests and line.turn <= self._now]:
            del self._lines[tenant]


def _arguments(request: Request) -> dict[str, object]:
    return (request.sampling_params and request.sampling_params.extra_args) or {}


# Without our server in front, as under `vllm serve`, clients can set these arguments to anything.
def _tenant(request: Request) -> int | None:
    tenant = _arguments(request).get(TENANT)
    return tenant if type(tenant) is int else None


def _weight(request: Request) -> float:
    weight = _arguments(request).get(WEIGHT)
    return weight if isinstance(weight, float) and LEAST_WEIGHT <= weight <= MOST_WEIGHT else 1.0
