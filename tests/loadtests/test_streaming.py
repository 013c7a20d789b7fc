"""A stream's times and tokens are read, and a broken stream is told from a whole one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import pytest

from loadtests.streaming import Answer, read_answer


def event(content: str | None = None, **fields: object) -> bytes:
    choices = [] if content is None else [{"index": 0, "delta": {"content": content}}]
    return f"data: {json.dumps({'choices': choices, **fields})}\n".encode()


ROLE = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n'
DONE = b"data: [DONE]\n"


def read(lines: Iterable[bytes]) -> Answer:
    ticks = itertools.count(10.0)
    return read_answer(lines, 9.0, lambda: next(ticks))


def test_times_are_those_of_text() -> None:
    answer = read([ROLE, b"\n", event("a"), b"\n", event("b"), event("c"), event(usage={"completion_tokens": 5}), DONE])
    assert answer.first_token_seconds == 2
    assert answer.gaps == [1, 1]
    assert (answer.tokens, answer.text, answer.failure) == (5, "abc", None)
    assert answer.tokens_per_second == 2
    assert answer.seconds == 7


def test_an_answer_of_one_token_has_no_speed() -> None:
    assert read([ROLE, event("a"), event(usage={"completion_tokens": 1}), DONE]).tokens_per_second is None


@pytest.mark.parametrize("lines", [[], [ROLE], [ROLE, event("a")]])
def test_a_stream_that_stops_is_no_answer(lines: list[bytes]) -> None:
    assert read(lines).failure == "the stream ended before [DONE]"


def test_an_error_in_the_stream_is_told() -> None:
    error = b'data: {"error": {"message": "too late", "code": 504}}\n'
    assert read([ROLE, event("a"), b"event: error\n", error]).failure == "error in the stream: too late"
