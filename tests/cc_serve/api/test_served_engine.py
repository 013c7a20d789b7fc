"""One door to the engine: what is charged, logged and counted is one number, and a deadline is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.exceptions import EngineDeadError

from cc_serve.api.drain import Drain
from cc_serve.api.faults import DeadlineError, StoppedError
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.telemetry.record import RequestRecord, current_record
from cc_serve.api.work import Work, current_work
from cc_serve.config.configuration import Limits
from tests.support.connecting import connections

PROMPT = {"prompt_token_ids": [1, 2, 3]}


class Engine:
    """Gives outputs of one answer each: pairs of the answer's index and its tokens; waits before each."""

    def __init__(self, *outputs: tuple[int, int], pause: float = 0) -> None:
        self.outputs = outputs
        self.pause = pause
        self.asked = 0

    def generate(self, *_: object, **__: object) -> AsyncGenerator[RequestOutput]:
        self.asked += 1
        return self._generate()

    async def _generate(self) -> AsyncGenerator[RequestOutput]:
        for index, tokens in self.outputs:
            await asyncio.sleep(self.pause)
            answer = CompletionOutput(index, "", [0] * tokens, None, None)
            yield RequestOutput("r", None, [1, 2, 3], None, [answer], finished=False)


def generate(engine: Engine, limits: Limits, kind: RequestOutputKind) -> tuple[RequestRecord, list[int]]:
    """The record and the charges of one request."""
    record, charges = RequestRecord("r", "/v1/completions"), []

    async def answer() -> None:
        current_record.set(record)
        current_work.set(Work(limits, asyncio.get_running_loop().time(), charges.append))
        served: Any = ServedEngine(engine, connections(), Drain())
        async for _ in served.generate(PROMPT, SamplingParams(n=2, output_kind=kind), "r"):
            pass

    with suppress(DeadlineError):
        asyncio.run(answer())
    return record, charges


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        (RequestOutputKind.DELTA, [(0, 1), (1, 2), (0, 1)]),
        # vLLM gives the answers of a cumulative stream one at a time: the last output alone is not the sum.
        (RequestOutputKind.CUMULATIVE, [(0, 1), (1, 2), (0, 2)]),
    ],
)
def test_what_is_charged_is_what_is_logged(kind: RequestOutputKind, outputs: list[tuple[int, int]]) -> None:
    record, charges = generate(Engine(*outputs), Limits(), kind)
    assert charges == [3, 1, 2, 1]
    assert (record.prompt_tokens, record.generated_tokens) == (3, 4)


def test_a_deadline_is_a_failure_of_the_servers() -> None:
    record, charges = generate(
        Engine(*[(0, 1)] * 100, pause=0.02), Limits(deadline_seconds=0.05), RequestOutputKind.DELTA
    )
    assert record.failure == "server_error"
    assert record.generated_tokens == sum(charges[1:]) < 100


def test_what_a_stop_cuts_off_is_told_so() -> None:
    class Dead(Engine):
        async def _generate(self) -> AsyncGenerator[RequestOutput]:
            raise EngineDeadError
            yield

    async def ask(drain: Drain, record: RequestRecord) -> None:
        current_record.set(record)
        served: Any = ServedEngine(Dead(), connections(), drain)
        async for _ in served.generate(PROMPT, SamplingParams(), "r"):
            pass

    stopping, running = Drain(), Drain()
    stopping.stop(0)
    for drain, error, code in ((stopping, StoppedError, 503), (running, EngineDeadError, 500)):
        record = RequestRecord("r", "/v1/completions")
        with pytest.raises(error):
            asyncio.run(ask(drain, record))
        assert record.error is not None
        assert (record.failure, record.error.code) == ("server_error", code)


def test_a_refusal_comes_before_any_output_is_asked_for() -> None:
    engine = Engine((0, 1))

    async def ask() -> None:
        current_work.set(Work(Limits(prompt_tokens=2), 0, lambda _: None))
        served: Any = ServedEngine(engine, connections(), Drain())
        with pytest.raises(VLLMValidationError):
            served.generate(PROMPT, SamplingParams(), "r")  # not awaited: a stream would have begun by then

    asyncio.run(ask())
    assert engine.asked == 0
