"""What is known about a request while it runs: never a key, and no more of its text than a sample needs.

The outermost middleware makes the record. Whatever runs inside of it, down to the engine's client, finds the record in
the context and fills it in. When the response is over, metrics and a line of the log are made of it.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cc_serve.api.errors import ErrorDetail
from cc_serve.api.telemetry.answer_sample import AnswerSample
from cc_serve.routing.holdout import Side
from cc_serve.routing.router import Route

Outcome = Literal["ok", "client_error", "server_error", "disconnected", "refused"]

#: BCP 47's code for an undetermined language.
UNDETERMINED: Final = "und"
#: Statuses that refuse a request because of its sender, its size, its rate or its moment, and not for what it asks.
REFUSALS: Final = frozenset({401, 403, 413, 429, 431, 503})


@dataclass(slots=True)
class RequestRecord:
    """One HTTP request.

    Args:
        request_id: the client's own id, if it sent a usable one; otherwise a new one.
        path: the request's path; for generation requests, without the root path.
        started: when its headers arrived, by `time.perf_counter`.
        route: its route; None until it is routed.
        overridden: whether it named its connection or language itself.
        holdout: its side, if a share of the requests is held out of the connection; None if it is on no side.
        detection_seconds: how long its routing took.
        status: the status of the response; None until that has begun.
        complete: whether the last byte of the response was handed to the HTTP server.
        left: whether the client left before that.
        failure: whose fault it is that the engine's work ended early, whatever status the response has.
        error: what the client learns of that.
        known: whether that error needs no traceback.
        first_token_seconds: from handing the prompt to the engine to the first token of the first answer.
        prompt_tokens: the tokens of all its prompts.
        generated_tokens: the tokens of all its answers.
        connections: the engine's report on each connected prompt: ``name``, ``layer``, ``captures``.
        sample: the beginning of the answer, if its language will be detected; None for most requests.
    """

    request_id: str
    path: str
    started: float = field(default_factory=time.perf_counter)
    route: Route | None = None
    overridden: bool = False
    holdout: Side | None = None
    detection_seconds: float | None = None
    status: int | None = None
    complete: bool = False
    left: bool = False
    failure: Literal["client_error", "server_error", "refused"] | None = None
    error: ErrorDetail | None = None
    known: bool = False
    first_token_seconds: float | None = None
    prompt_tokens: int = 0
    generated_tokens: int = 0
    connections: list[dict[str, Any]] = field(default_factory=list)
    sample: AnswerSample | None = None

    @property
    def language(self) -> str | None:
        """The language that it was routed for, ``und`` if undecided; None before it is routed."""
        return None if self.route is None else self.route.language or UNDETERMINED

    @property
    def seconds(self) -> float:
        """Seconds since it arrived."""
        return time.perf_counter() - self.started

    @property
    def outcome(self) -> Outcome:
        """How the request ended; ask when it is over."""
        if not self.complete and self.left:
            return "disconnected"
        if self.failure is not None:
            return self.failure
        if self.status is None or not self.complete:
            return "server_error"
        if self.status in REFUSALS:
            return "refused"
        if self.status >= 400:
            return "client_error" if self.status < 500 else "server_error"
        return "ok"


#: The record of the request that this task answers; tasks that it starts inherit it. None outside of a request.
current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)
