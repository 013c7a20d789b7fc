"""What the scheduler tells the worker about connected requests, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CaptureMark:
    """Capture the anchor and decide on the connection; the token sampled for the request is discarded.

    Args:
        offset: the anchor's place in the request's chunk.
        slot: where the activations are stored.
        name: which Transform Matrix.
    """

    offset: int
    slot: int
    name: str


@dataclass(frozen=True)
class InjectMark:
    """Run the anchor with the connection that was decided for the slot.

    Args:
        offset: the anchor's place in the request's chunk.
        slot: where the vector to add is stored.
    """

    offset: int
    slot: int


@dataclass
class ConnectionMarks:
    """The marks of one step, by request id; they travel as ``SchedulerOutput.connection_marks``.

    Args:
        capture: requests that are captured in this step.
        inject: requests that are connected in this step.
        waiting: requests whose step has no effect: no slot is free for their capture, or they were refused.
    """

    capture: dict[str, CaptureMark] = field(default_factory=dict)
    inject: dict[str, InjectMark] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @property
    def discarded(self) -> list[str]:
        """The requests whose sampled token does not belong to the answer."""
        return [*self.capture, *self.waiting]
