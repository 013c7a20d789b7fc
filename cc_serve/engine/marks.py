"""What the scheduler tells the worker about connected requests, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CaptureMark:
    """Capture the anchor and decide on the connection; the row's sampled token is discarded.

    Args:
        offset: the anchor's place in the request's chunk.
        slot: where to.
        name: which Transform Matrix.
    """

    offset: int
    slot: int
    name: str


@dataclass(frozen=True)
class InjectMark:
    """Run the anchor with the connection that was decided for the slot."""

    offset: int
    slot: int


@dataclass
class ConnectionMarks:
    """The marks of one step, by request id; rides on ``SchedulerOutput.connection_marks``.

    Args:
        capture: requests that are captured in this step.
        inject: requests that are connected in this step.
        waiting: requests whose anchor runs in this step to no effect, since no slot is free.
    """

    capture: dict[str, CaptureMark] = field(default_factory=dict)
    inject: dict[str, InjectMark] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @property
    def discarded(self) -> list[str]:
        """The requests whose sampled token is not one of the answer's."""
        return [*self.capture, *self.waiting]
