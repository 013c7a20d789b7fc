"""What is known about a request while it runs: never a key, and of its text only what a sample needs.

The outermost middleware makes the record. Whatever runs inside it, down to the engine's client, finds the record in
the context and fills it in. When the response is over, it becomes metrics and a line of the log.
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
        request_id: the client's, where it sent a usable one.
        path: without the root path, where it generates.
        started: when its headers arrived, by `time.perf_counter`.
        route: its route; None until it is routed.
        overridden: whether it named its connection itself.
        holdout: the side that it is on, where a share is held out of the connection; None if it is on none.
        detection_seconds: spent on routing it.
        status: of the response; None until that has begun.
        complete: whether the last byte of the response was handed to the server.
        left: whether the client went before that.
        failure: what ended the engine's work early, whatever status its response has.
        error: what the client is told of that.
        known: whether that needs no traceback.
        first_token_seconds: from the moment that the engine got the prompt to the first token of the first answer.
        prompt_tokens: the tokens of all its prompts.
        generated_tokens: the tokens of all its answers.
        connections: what the engine reports of each connected prompt: ``name``, ``layer``, ``captures``.
        sample: of the answer, where its language shall be told; None for most requests.
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
        """The language it was routed for, ``und`` when that could not be told; None before it is routed."""
        return None if self.route is None else self.route.language or UNDETERMINED

    @property
    def seconds(self) -> float:
        """Since it arrived."""
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
