"""What the scheduler tells the worker about connected requests, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vllm.v1.core.sched.output import SchedulerOutput

_ATTRIBUTE: Final = "connection_marks"


@dataclass(frozen=True)
class CaptureMark:
    """Capture the anchor and decide on the connection; the token sampled for the request is discarded.

    Args:
        offset: the anchor's position in the request's chunk.
        slot: where the activations are stored.
        matrix: the name of the Transform Matrix.
        sha256: the digest of the connection that has the matrix.
        strength: the factor of the vector to add.
        drafts: whether the plain model's token comes back as a draft for the inject step.
    """

    offset: int
    slot: int
    matrix: str
    sha256: str
    strength: float = 1.0
    drafts: bool = False


@dataclass(frozen=True)
class InjectMark:
    """Run the anchor with the connection that was decided for the slot.

    Args:
        offset: the anchor's position in the request's chunk.
        slot: where the vector to add is stored.
    """

    offset: int
    slot: int


@dataclass
class ConnectionMarks:
    """The marks of one step, by request id; they travel as ``SchedulerOutput.connection_marks``.

    Args:
        capture: the requests that are captured in this step.
        inject: the requests that are connected in this step.
        waiting: the requests whose step has no effect: no slot is free for their capture, or they were refused.
        rewound: the position from which each captured or waiting request goes on. The token that this step samples for
            it is discarded.
    """

    capture: dict[str, CaptureMark] = field(default_factory=dict)
    inject: dict[str, InjectMark] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    rewound: dict[str, int] = field(default_factory=dict)

    def attach_to(self, scheduler_output: SchedulerOutput) -> None:
        """Store them on the step's ``scheduler_output``."""
        setattr(scheduler_output, _ATTRIBUTE, self)


def marks_of(scheduler_output: SchedulerOutput) -> ConnectionMarks:
    """The marks that travel with ``scheduler_output``; none if vLLM made it without our scheduler, as for a warm-up."""
    return getattr(scheduler_output, _ATTRIBUTE, None) or ConnectionMarks()
