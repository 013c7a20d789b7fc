"""Counting and timing at the engine's client: the same outputs, and tokens that add up, however a request ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client import REGISTRY
from vllm.exceptions import GracefulHTTPError, VLLMClientError
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.metrics.stats import RequestStateStats

from cc_serve.api.drain import Drain
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.telemetry.record import RequestRecord, current_record
from tests.support.connecting import connections

PROMPT = [1, 2, 3]


def output(*answers: int, finished: bool = False, reason: str | None = None, stats: bool = True) -> RequestOutput:
    """An engine's output with ``answers`` tokens in each of its answers."""
    outputs = [
        CompletionOutput(index, "", [7] * count, None, None, finish_reason=reason)
        for index, count in enumerate(answers)
    ]
    times = RequestStateStats(
        num_generation_tokens=5, first_token_latency=0.25, first_token_ts=100.0, last_token_ts=102.0
    )
    return RequestOutput("r", None, PROMPT, None, outputs, finished, metrics=times if stats else None)


class Engine:
    """Gives ``outputs``, then raises ``error`` if there is one; remembers whether it was closed midway."""

    def __init__(self, outputs: list[RequestOutput], error: Exception | None = None) -> None:
        self.outputs = outputs
        self.error = error
        self.stopped = False
        self.options: dict[str, Any] = {}

    async def generate(
        self, prompt: object, sampling_params: SamplingParams, request_id: str, **options: Any
    ) -> AsyncGenerator[RequestOutput, None]:
        self.options = options
        try:
            for item in self.outputs:
                yield item
        except GeneratorExit:
            self.stopped = True
            raise
        if self.error:
            raise self.error


def generate(
    engine: Engine,
    kind: RequestOutputKind,
    connection: object = "de",
    take: int = 99,
    record: RequestRecord | None = None,
) -> tuple[RequestRecord, list[RequestOutput]]:
    """The record of a request that takes ``take`` outputs of the observed engine, and these outputs."""
    record = record or RequestRecord("r", "/v1/completions")
    served = ServedEngine(engine, connections("de", "global"), Drain())
    parameters = SamplingParams(output_kind=kind, extra_args={"cc_connection": connection} if connection else None)
    taken: list[RequestOutput] = []

    async def answer() -> None:
        current_record.set(record)
        outputs = served.generate("p", parameters, "r", priority=3)
        async for item in outputs:
            taken.append(item)
            if len(taken) == take:
                await outputs.aclose()
                break

    asyncio.run(answer())
    return record, taken


def sample(name: str, connection: str = "de", holdout: str = "none") -> float:
    sided = name.startswith(("cc:generation_tokens", "cc:time_to_first_token"))
    labels = {"connection": connection} | ({"holdout": holdout} if sided else {})
    return REGISTRY.get_sample_value(name, labels) or 0


DELTA, FINAL = RequestOutputKind.DELTA, RequestOutputKind.FINAL_ONLY


@pytest.mark.parametrize(
    ("kind", "outputs", "generated"),
    [
        pytest.param(DELTA, [output(1), output(2), output(2, finished=True)], 5, id="stream"),
        pytest.param(DELTA, [output(1, 1), output(2), output(0, finished=True)], 4, id="stream of two answers"),
        pytest.param(FINAL, [output(5, finished=True)], 5, id="whole"),
        pytest.param(FINAL, [output(5, 6, finished=True)], 11, id="two answers"),
    ],
)
def test_tokens_and_times(kind: RequestOutputKind, outputs: list[RequestOutput], generated: int) -> None:
    names = ("cc:prompt_tokens_total", "cc:generation_tokens_total", "cc:time_to_first_token_seconds_sum")
    before = [sample(name) for name in names] + [sample("cc:inter_token_seconds_sum")]
    engine = Engine(outputs)
    record, taken = generate(engine, kind)
    assert taken == outputs
    assert engine.options == {"priority": 3}
    assert (record.prompt_tokens, record.generated_tokens, record.first_token_seconds) == (3, generated, 0.25)
    after = [sample(name) for name in names] + [sample("cc:inter_token_seconds_sum")]
    assert [round(b - a, 6) for a, b in zip(before, after, strict=True)] == [3, generated, 0.25, 0.5]


@pytest.mark.parametrize(("asked", "label"), [("global", "global"), (None, "off"), ("xx", "off"), (["de"], "off")])
def test_labels_are_the_checkpoints_connections_only(asked: object, label: str) -> None:
    before = sample("cc:prompt_tokens_total", label)
    generate(Engine([output(1, finished=True)]), FINAL, asked)
    assert sample("cc:prompt_tokens_total", label) == before + 3


def test_an_abandoned_stream_stops_the_engine_and_counts_what_there_was() -> None:
    engine = Engine([output(1), output(1), output(1)])
    record, _ = generate(engine, DELTA, take=2)
    assert engine.stopped
    assert (record.prompt_tokens, record.generated_tokens) == (3, 2)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (VLLMClientError("no"), "client_error"),
        (GracefulHTTPError("busy", HTTPStatus.TOO_MANY_REQUESTS), "client_error"),
        (GracefulHTTPError("late", HTTPStatus.GATEWAY_TIMEOUT), "server_error"),
        (RuntimeError(), "server_error"),
    ],
)
def test_failures_are_passed_on_and_noted(error: Exception, failure: str) -> None:
    record = RequestRecord("r", "/v1/completions")
    with pytest.raises(type(error)):
        generate(Engine([output(1)], error), DELTA, record=record)
    assert (record.failure, record.generated_tokens) == (failure, 1)


def test_an_answer_that_ends_in_an_error_is_the_servers() -> None:
    record, _ = generate(Engine([output(1, finished=True, reason="error")]), FINAL)
    assert record.failure == "server_error"


def test_without_vllms_statistics_tokens_are_counted_and_times_are_not() -> None:
    before = sample("cc:time_to_first_token_seconds_count")
    record, _ = generate(Engine([output(4, finished=True, stats=False)]), FINAL)
    assert (record.generated_tokens, record.first_token_seconds) == (4, None)
    assert sample("cc:time_to_first_token_seconds_count") == before


def test_work_outside_of_a_request_is_counted_as_well() -> None:
    before = sample("cc:generation_tokens_total")
    engine = ServedEngine(Engine([output(4, finished=True)]), connections("de"), Drain())

    async def work() -> None:
        async for _ in engine.generate("p", SamplingParams(extra_args={"cc_connection": "de"}), "r"):
            pass

    asyncio.run(work())
    assert sample("cc:generation_tokens_total") == before + 4
