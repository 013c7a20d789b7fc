"""A capture step's token as a draft behind the anchor: two tokens in one step, and never another answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from vllm import RequestOutput, SamplingParams
from vllm.v1.request import Request
from vllm.v1.sample.logits_processor import LogitsProcessors
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.sample.sampler import Sampler
from vllm.v1.spec_decode.metadata import SpecDecodeMetadata

from cc_serve.engine.config import DRAFT_KEY, EngineConnection, UnsupportedConfigurationError
from cc_serve.engine.drafts import may_draft, sample_with_drafts
from tests.cc_serve.engine.conftest import CONNECTIONS, LENGTHS, Engine, Job, prompt, start_small_engine
from tests.cc_serve.engine.test_config import configure
from tests.cc_serve.engine.test_schedules import Arrival, Limits, play, random_schedules
from tests.support import runners

DRAFTS = {"additional_config": {DRAFT_KEY: True}}
STRENGTHS = (0.05, 1.0)
"""Under the first, the connected model mostly says what the plain one says."""
JOBS = [
    Job(prompt(1200 + n, n), name, max_tokens=8, strength=strength if name else 1.0)
    for n in LENGTHS
    for name in CONNECTIONS
    for strength in STRENGTHS
]

needs_v1 = pytest.mark.skipif(runners.V2, reason="V2 takes drafts from its own methods only")


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    with start_small_engine(tiny_checkpoint, **DRAFTS) as engine:
        yield engine


def confirmed(output: RequestOutput) -> bool | None:
    """Whether the request's draft was confirmed; None if it had none."""
    report: dict[str, Any] = (output.kv_transfer_params or {}).get("cc_connection", {})
    return report.get("draft_confirmed")


def tokens(outputs: list[RequestOutput]) -> list[list[int]]:
    return [list(output.outputs[0].token_ids) for output in outputs]


@needs_v1
def test_answers_stay_the_references(engine: Engine) -> None:
    outputs = engine.run(JOBS)
    assert max(engine.check(job, output) for job, output in zip(JOBS, outputs, strict=True)) < 1e-3
    verdicts = [confirmed(output) for output in outputs]
    assert all(verdict is None for job, verdict in zip(JOBS, verdicts, strict=True) if job.connection is None)
    # A step that has no room for two of a request's tokens drops the draft.
    assert min(verdicts.count(True), verdicts.count(False)) > 5, Counter(verdicts)


@needs_v1
def test_a_confirmed_draft_wins_a_step_back(engine: Engine) -> None:
    core = engine.llm.llm_engine
    for job in JOBS:
        core.add_request("it", {"prompt_token_ids": list(job.prompt)}, job.parameters())
        steps, verdict = [], None
        while core.has_unfinished_requests():
            for output in core.step():
                steps.append(len(output.outputs[0].token_ids))
                verdict = confirmed(output)
        assert steps == ([2, *range(3, 9)] if verdict else [*range(1, 9)])


@needs_v1
def test_seeded_draws_are_those_without_a_draft(engine: Engine) -> None:
    jobs = [job for job in JOBS if job.connection]
    sampling = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "seed": 5}
    # `min_tokens` means nothing where the end of sequence is ignored, but a request with it gets no draft.
    without = engine.run(jobs, **sampling, min_tokens=1)
    drafted = engine.run(jobs, **sampling)
    assert {confirmed(output) for output in without} == {None}
    assert {confirmed(output) for output in drafted} == {True, False}
    assert tokens(drafted) == tokens(without)
    first = [output.outputs[0].logprobs for output in drafted]
    for mine, others in zip(first, (output.outputs[0].logprobs for output in without), strict=True):
        for step, other in zip(mine, others, strict=True):
            assert step.keys() == other.keys()
            assert max(abs(step[token].logprob - other[token].logprob) for token in step) < 1e-3


@needs_v1
@pytest.mark.parametrize("max_tokens", [1, 2, 3])
def test_no_token_too_many(engine: Engine, max_tokens: int) -> None:
    jobs = [Job(job.prompt, job.connection, max_tokens, job.strength) for job in JOBS]
    outputs = engine.run(jobs)
    assert max(engine.check(job, output) for job, output in zip(jobs, outputs, strict=True)) < 1e-3
    assert any(confirmed(output) for output in outputs) == (max_tokens > 1)


@needs_v1
def test_an_answer_ends_with_its_first_token(engine: Engine) -> None:
    """The second token of the same step does not count."""
    jobs = [job for job, output in zip(JOBS, engine.run(JOBS), strict=True) if confirmed(output)]
    for job in jobs[:4]:
        output = engine.run([job], stop_token_ids=engine.expect(job).tokens[:1])[0]
        assert tokens([output]) == [engine.expect(job).tokens[:1]]
        assert output.outputs[0].finish_reason == "stop"


@needs_v1
def test_neighbours_with_other_parameters(engine: Engine) -> None:
    """In a batch with drafts, every request gets what it gets alone."""
    options: list[dict[str, Any]] = [
        {},
        {"logprobs": 3},
        {"logit_bias": {7: 4.0}},
        {"presence_penalty": 1.5, "repetition_penalty": 1.3},
        {"allowed_token_ids": [*range(3, 40)]},
        {"temperature": 0.9, "min_p": 0.1, "seed": 3},
        {"prompt_logprobs": 2},
    ]
    jobs = [JOBS[index] for index in range(2, 2 + 4 * len(options), 4)]
    parameters = [job.parameters(**option) for job, option in zip(jobs, options, strict=True)]
    prompts = [{"prompt_token_ids": list(job.prompt)} for job in jobs]
    alone = [
        engine.llm.generate([each], [parameter], use_tqdm=False)[0]
        for each, parameter in zip(prompts, parameters, strict=True)
    ]
    crowd = [{"prompt_token_ids": list(job.prompt)} for job in JOBS]
    together = engine.llm.generate(
        [*prompts, *crowd], [*parameters, *(job.parameters() for job in JOBS)], use_tqdm=False
    )
    assert tokens(together[: len(jobs)]) == tokens(alone)
    assert any(confirmed(output) for output in together[len(jobs) :])


@needs_v1
@random_schedules(30)
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    play(engine, arrivals, preempt_at, limits)


def sampling_of(seeds: list[int | None], temperatures: list[float]) -> SamplingMetadata:
    """Of a batch without penalties or anything else."""
    none = torch.zeros(len(seeds))
    return SamplingMetadata(
        temperature=torch.tensor(temperatures),
        all_greedy=not any(temperatures),
        all_random=all(temperatures),
        top_p=torch.full((len(seeds),), 0.95),
        top_k=None,
        generators={place: torch.Generator().manual_seed(s) for place, s in enumerate(seeds) if s is not None},
        max_num_logprobs=None,
        no_penalties=True,
        prompt_token_ids=None,
        frequency_penalties=none,
        presence_penalties=none,
        repetition_penalties=none + 1,
        output_token_ids=[[] for _ in seeds],
        allowed_token_ids_mask=None,
        bad_words_token_ids={},
        logitsprocs=LogitsProcessors(),
    )


def drafted(drafts: list[int | None]) -> SpecDecodeMetadata:
    """A batch in which some requests have a draft."""
    counts = [int(draft is not None) for draft in drafts]
    ends = torch.tensor(counts).add(1).cumsum(0)
    metadata = SpecDecodeMetadata.make_dummy([[d] if d is not None else [] for d in drafts], torch.device("cpu"))
    metadata.bonus_logits_indices = ends - 1
    return metadata


@pytest.mark.fast
def test_sampler_draws_what_it_would_draw_in_two_steps() -> None:
    """A batch of one draft in two, with each row's second token drawn after its first, as in a step of its own."""
    sampler, generator, size = Sampler(), torch.Generator().manual_seed(0), 8
    seen = set()
    for trial in range(40):
        first, second = 2 * torch.randn(2, size, 16, generator=generator)
        temperatures = [0.0, 0.8] * (size // 2) if trial % 2 else [0.8] * size
        seeds: list[int | None] = [100 * trial + place for place in range(size)]
        drafts = [int(first[place].argmax()) if place % 4 < 2 else None for place in range(size)]
        apart = sampling_of(seeds, temperatures)
        expected = [sampler(logits=each.clone(), sampling_metadata=apart) for each in (first, second)]
        rows = [row for place in range(size) for row in (first[place], second[place])[: 1 + (place % 4 < 2)]]
        sampling = sampling_of(seeds, temperatures)
        output = sample_with_drafts(
            sampler,
            partial(sampler, sampling_metadata=sampling),
            torch.stack(rows),
            drafted(drafts),
            sampling,
        )
        for place, found in enumerate(output.sampled_token_ids.tolist()):
            tokens = [int(each.sampled_token_ids[place, 0]) for each in expected]
            confirmed = tokens[0] == drafts[place]
            seen.add((temperatures[place], confirmed))
            assert found == (tokens if confirmed else [tokens[0], -1])
    assert seen == {(0.0, True), (0.0, False), (0.8, True), (0.8, False)}


@pytest.mark.fast
def test_unseeded_draws_have_the_models_distribution() -> None:
    """Pairs of tokens, of which the second depends on the first by the model alone."""
    torch.manual_seed(0)
    count, vocabulary = 40_000, 4
    first = torch.tensor([1.0, 0.5, 0.0, -0.5])
    following = torch.tensor([0.0, 1.0, -1.0, 0.5])  # after the draft
    sampling = sampling_of([None] * count, [1.0] * count)
    sampling.top_p = None
    sampler = Sampler()
    output = sample_with_drafts(
        sampler,
        partial(sampler, sampling_metadata=sampling),
        torch.stack([first, following]).repeat(count, 1),
        drafted([0] * count),
        sampling,
    )
    tokens = output.sampled_token_ids
    assert ((tokens[:, 1] >= 0) == (tokens[:, 0] == 0)).all()
    for found, logits in ((tokens[:, 0], first), (tokens[tokens[:, 0] == 0, 1], following)):
        shares = torch.bincount(found, minlength=vocabulary) / len(found)
        assert (shares - logits.softmax(-1)).abs().max() < 4 * (0.25 / len(found)) ** 0.5


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "drafts"),
    [
        ({"temperature": 0.7, "top_p": 0.9, "top_k": 4, "seed": 1, "stop": "x", "logprobs": 2, "n": 2}, True),
        ({"watermarking": False}, True),  # as vLLM settles it
        ({"max_tokens": 1}, False),
        ({"min_p": 0.1}, False),
        ({"logit_bias": {4: 1.0}}, False),
        ({"presence_penalty": 0.1}, False),
        ({"bad_words": ["x"]}, False),
        ({"allowed_token_ids": [4]}, False),
        ({"min_tokens": 2}, False),
        ({"prompt_logprobs": 1}, False),
        ({"logprob_token_ids": [4]}, False),
    ],
)
def test_requests_that_may_draft(options: dict[str, Any], drafts: bool) -> None:
    parameters = SamplingParams(**{"max_tokens": 8} | options)
    request = SimpleNamespace(sampling_params=parameters, num_output_tokens=0, max_tokens=parameters.max_tokens)
    assert may_draft(cast(Request, request)) is drafts


@needs_v1
def test_asked_for(tiny_checkpoint: Path) -> None:
    config = configure(tiny_checkpoint, **DRAFTS)
    assert EngineConnection.of(config).drafts
    assert config.scheduler_config.async_scheduling is False
    assert not EngineConnection.of(configure(tiny_checkpoint)).drafts


@needs_v1
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"additional_config": {DRAFT_KEY: "yes"}}, "cc_draft is 'yes'; set true or false"),
        ({"async_scheduling": True}, "--no-async-scheduling"),
        (
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 2}},
            "--speculative-config",
        ),
        ({"logits_processors": ["own.module:Processor"]}, "--logits-processors"),
    ],
)
def test_what_it_cannot_be_had_with(tiny_checkpoint: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedConfigurationError, match=named):
        configure(tiny_checkpoint, **DRAFTS | options)
