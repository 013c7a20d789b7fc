"""What the scheduler tells the worker about connected requests, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

# The key of ``SamplingParams.extra_args`` by which a request asks for a connection.
CONNECTION_ARGUMENT = "cc_connection"


@dataclass(frozen=True)
class CaptureMark:
    """Record the anchor's activations; the row's sampled token is discarded.

    ``offset``: the anchor's place in the request's chunk. ``slot``: where to, or None to run the step
    without recording, when no slot is free.
    """

    offset: int
    slot: int | None


@dataclass(frozen=True)
class InjectMark:
    """Run the anchor with the connection. ``token``: the anchor's token id, for its embedding."""

    offset: int
    slot: int
    name: str
    token: int


@dataclass
class ConnectionMarks:
    """The marks of one step, by request id; rides on ``SchedulerOutput.connection_marks``."""

    capture: dict[str, CaptureMark] = field(default_factory=dict)
    inject: dict[str, InjectMark] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.capture or self.inject)
