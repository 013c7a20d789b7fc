"""Reads a streamed answer, and times it as its client sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Answer:
    """The answer to a streamed chat request.

    Args:
        first_token_seconds: from sending the request to the first piece of text; None where there was none.
        gaps: seconds between pieces. A piece is one token, unless tokens came faster than they are read.
        seconds: from sending the request to the end of the stream.
        tokens: length of the answer, as the server counts it.
        text: the answer.
        failure: why the answer is not whole; None where it is.
    """

    first_token_seconds: float | None = None
    gaps: list[float] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    text: str = ""
    failure: str | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second after the first token; None for an answer of one token."""
        duration = sum(self.gaps)
        return (self.tokens - 1) / duration if self.tokens > 1 and duration > 0 else None


def read_answer(lines: Iterable[bytes], sent: float, clock: Callable[[], float] = time.perf_counter) -> Answer:
    """Read a stream of server-sent events to its end.

    Args:
        lines: lines of the response's body, as they arrive.
        sent: when the request was sent, by ``clock``.
        clock: returns seconds.
    """
    answer = Answer(failure="the stream ended before [DONE]")
    last = None
    for line in lines:
        if not line.startswith(b"data: "):
            continue
        now = clock()
        data = line[len(b"data: ") :].strip()
        if data == b"[DONE]":
            answer.failure = None
            break
        event = json.loads(data)
        if "error" in event:
            answer.failure = f"error in the stream: {event['error'].get('message')}"
            break
        if event.get("usage"):
            answer.tokens = event["usage"]["completion_tokens"]
        choices = event.get("choices")
        if not choices or "content" not in choices[0]["delta"] or choices[0]["delta"].get("role"):
            continue
        answer.text += choices[0]["delta"]["content"] or ""
        if last is None:
            answer.first_token_seconds = now - sent
        else:
            answer.gaps.append(now - last)
        last = now
    answer.seconds = clock() - sent
    return answer
