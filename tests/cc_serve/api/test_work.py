"""The engine's work for one request, over a stand-in for the engine that yields vLLM's own outputs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
import torch
from prometheus_client import REGISTRY
from vllm.exceptions import VLLMValidationError
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from cc_serve.api.drain import Drain
from cc_serve.api.faults import DeadlineError
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.work import Work, current_work
from cc_serve.config.configuration import Limits
from tests.support.connecting import connections

PROMPT = {"type": "token", "prompt_token_ids": [1, 2, 3]}


class Engine:
    """Yields answers of given lengths, a pause before each; says whether it was stopped."""

    def __init__(self, lengths: Sequence[Sequence[int]], pause: float = 0) -> None:
        self.lengths = lengths
        self.pause = pause
        self.parameters: list[SamplingParams] = []
        self.stopped = False

    async def generate(self, prompt: Any, parameters: SamplingParams, _: str) -> AsyncGenerator[RequestOutput]:
        self.parameters.append(parameters)
        try:
            for lengths in self.lengths:
                await asyncio.sleep(self.pause)
                answers = [
                    CompletionOutput(index, "", [0] * length, None, None) for index, length in enumerate(lengths)
                ]
                yield RequestOutput("id", None, None, None, answers, finished=False)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped = True
            raise


def bound(engine: Engine) -> ServedEngine:
    return ServedEngine(engine, connections(), Drain())


def charged(engine: Engine, limits: Limits, parameters: SamplingParams, prompts: int = 1) -> list[int]:
    """Generate for each prompt; what was charged, in order."""
    charges: list[int] = []

    async def main() -> None:
        token = current_work.set(Work(limits, asyncio.get_running_loop().time(), charges.append))
        try:
            bounded = bound(engine)
            for outputs in [bounded.generate(PROMPT, parameters, "id") for _ in range(prompts)]:
                async for _ in outputs:
                    pass
        finally:
            current_work.reset(token)

    asyncio.run(main())
    return charges


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        {"type": "embeds", "prompt_embeds": torch.zeros(3, 8)},
        {"type": "embeds", "prompt_embeds": torch.zeros(3, 8), "prompt_token_ids": [1, 0, 3]},
    ],
)
def test_a_prompt_counts_in_tokens_or_in_embeddings(prompt: object) -> None:
    charges: list[int] = []
    work = Work(Limits(prompt_tokens=3), 0, charges.append)
    work.begin(prompt, SamplingParams())
    work.start(prompt)
    assert (charges, work.prompt_tokens) == ([3], 3)
    with pytest.raises(VLLMValidationError, match="the prompt has 3 tokens; this server allows at most 2"):
        Work(Limits(prompt_tokens=2), 0, charges.append).begin(prompt, SamplingParams())


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        (RequestOutputKind.DELTA, [[1, 1], [1], [2, 1]]),
        (RequestOutputKind.CUMULATIVE, [[1, 1], [2, 1], [4, 2]]),
        (RequestOutputKind.FINAL_ONLY, [[4, 2]]),
    ],
)
def test_tokens_are_counted_whatever_the_kind_of_output(kind: RequestOutputKind, lengths: list[list[int]]) -> None:
    charges = charged(Engine(lengths), Limits(), SamplingParams(n=2, output_kind=kind))
    assert charges[0] == 3, "the prompt"
    assert sum(charges[1:]) == 6


def test_what_was_used_is_charged_also_when_nobody_waits_for_the_end() -> None:
    engine, charges = Engine([[5], [5]]), []

    async def main() -> None:
        current_work.set(Work(Limits(), 0, charges.append))
        outputs = bound(engine).generate(PROMPT, SamplingParams(output_kind=RequestOutputKind.DELTA), "id")
        await anext(outputs)
        await outputs.aclose()
        assert engine.stopped, "the engine's request is aborted at once, not when it is collected as garbage"

    asyncio.run(main())
    assert charges == [3, 5]


def test_the_deadline_stops_the_engine() -> None:
    engine = Engine([[1]] * 100, pause=0.02)
    with pytest.raises(DeadlineError, match=r"the deadline of 0\.05 s") as caught:
        charged(engine, Limits(deadline_seconds=0.05), SamplingParams(output_kind=RequestOutputKind.DELTA))
    assert caught.value.http_status == 504
    assert engine.stopped


def test_the_deadline_of_several_prompts_counts_once() -> None:
    def hits() -> float:
        return REGISTRY.get_sample_value("cc:limits_hit_total", {"limit": "deadline"}) or 0

    async def main() -> None:
        current_work.set(Work(Limits(deadline_seconds=0.05), asyncio.get_running_loop().time(), lambda _: None))
        bounded = bound(Engine([[1]], pause=5))
        answers = [anext(bounded.generate(PROMPT, SamplingParams(), name)) for name in "abc"]
        found = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(each) for each in found] == [DeadlineError] * 3

    before = hits()
    asyncio.run(main())
    assert hits() == before + 1


def test_the_engines_own_timeout_is_no_deadline() -> None:
    class Failing(Engine):
        async def generate(self, *_: Any) -> AsyncGenerator[RequestOutput]:
            raise TimeoutError("of the engine")
            yield

    with pytest.raises(TimeoutError, match="of the engine"):
        charged(Failing([]), Limits(deadline_seconds=60), SamplingParams())


@pytest.mark.parametrize(("wanted", "given"), [(None, 10), (5, 5), (10, 10), (50, 10)])
def test_no_answer_is_longer_than_allowed(wanted: int | None, given: int) -> None:
    engine = Engine([])
    charged(engine, Limits(output_tokens=10), SamplingParams(max_tokens=wanted))
    assert engine.parameters[0].max_tokens == given


def test_without_a_limit_the_length_stays() -> None:
    engine = Engine([])
    charged(engine, Limits(), SamplingParams(max_tokens=50))
    assert engine.parameters[0].max_tokens == 50


def test_a_long_prompt_is_refused() -> None:
    charged(Engine([]), Limits(prompt_tokens=3), SamplingParams())
    with pytest.raises(VLLMValidationError, match="has 3 tokens; this server allows at most 2") as caught:
        charged(Engine([]), Limits(prompt_tokens=2), SamplingParams())
    assert caught.value.parameter == "prompt"


def test_prompts_beside_one_that_is_refused_are_not_charged() -> None:
    charges: list[int] = []

    async def main() -> Work:
        current_work.set(work := Work(Limits(prompt_tokens=10), 0, charges.append))
        bounded = bound(Engine([[1]]))
        bounded.generate(PROMPT, SamplingParams(), "a")
        with pytest.raises(VLLMValidationError):
            bounded.generate({"prompt_token_ids": [1] * 11}, SamplingParams(), "b")
        return work

    work = asyncio.run(main())
    assert (charges, work.prompts, work.prompt_tokens) == ([], 0, 0)


def test_prompts_and_answers_together_are_bounded() -> None:
    engine = Engine([])
    charged(engine, Limits(sequences=6), SamplingParams(n=2), prompts=3)
    with pytest.raises(VLLMValidationError, match=r"asks for 8 answers .* at most 6"):
        charged(engine, Limits(sequences=6), SamplingParams(n=2), prompts=4)
    assert len(engine.parameters) == 3, "nothing of a refused request was begun"


def test_answers_that_are_over_make_room_for_others() -> None:
    """Beam search begins and ends many, a step at a time."""

    async def main() -> None:
        current_work.set(Work(Limits(sequences=2), 0, lambda _: None))
        for _ in range(5):
            async for _ in bound(Engine([[1]])).generate(PROMPT, SamplingParams(n=2), "id"):
                pass

    asyncio.run(main())


def test_outside_of_a_request_the_engine_is_itself() -> None:
    engine = Engine([[1]])

    async def main() -> int:
        return len([output async for output in bound(engine).generate(PROMPT, SamplingParams(), "id")])

    assert asyncio.run(main()) == 1
    assert bound(engine).lengths == [[1]]


def test_the_engine_is_told_whose_the_request_is_and_what_it_used_adds_up() -> None:
    engine = Engine([[2], [5]])
    work = Work(Limits(), 0, lambda _tokens: None, arguments={"cc_tenant": 7, "cc_weight": 2.0})

    async def main() -> None:
        current_work.set(work)
        parameters = SamplingParams(output_kind=RequestOutputKind.DELTA, extra_args={"cc_tenant": 1, "other": 2})
        async for _ in bound(engine).generate(PROMPT, parameters, "id"):
            pass

    asyncio.run(main())
    assert engine.parameters[0].extra_args == {"cc_tenant": 7, "cc_weight": 2.0, "other": 2}
    assert (work.prompts, work.prompt_tokens, work.answer_tokens) == (1, 3, 7)
