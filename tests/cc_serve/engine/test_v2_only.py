"""What vLLM's V2 model runner alone offers, or does in another way than V1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cc_train.model.activations import connected_at
from tests.cc_serve.engine.conftest import (
    BLOCK,
    CHUNK,
    CONNECTIONS,
    LENGTHS,
    Engine,
    Job,
    assert_async,
    async_scheduling,
    prompt,
    start_engine,
    start_small_engine,
)
from tests.cc_serve.engine.test_schedules import Arrival, Limits, play, random_schedules
from tests.support.runners import V2
from tests.support.tally import TALLY

if not V2:
    pytest.skip("runs under the V2 model runner alone: make test-v2", allow_module_level=True)

NGRAM = {"method": "ngram_gpu", "num_speculative_tokens": 3, "prompt_lookup_min": 1, "prompt_lookup_max": 3}


@pytest.mark.parametrize("length", [5, CHUNK, 100])
def test_log_probabilities_of_named_tokens_come_with_the_first_token(engine: Engine, length: int) -> None:
    job, plain = Job(prompt(600, length), "sw"), Job(prompt(600, length), None)
    token_ids = np.arange(3 * (length - 1), dtype=np.int64).reshape(length - 1, 3) % 100 + 3
    connected, stock = engine.run([job, plain], prompt_logprob_token_ids=token_ids)
    assert stock.prompt_token_id_logprobs is not None
    np.testing.assert_allclose(
        np.asarray(connected.prompt_token_id_logprobs), np.asarray(stock.prompt_token_id_logprobs), atol=1e-4
    )
    engine.check(job, connected)


def drawn(engine: Engine, job: Job, tokens: list[int], seed: int, temperature: float) -> list[int]:
    """What the reference's logits and V2's noise, a hash of seed and position, make of each of ``tokens``."""
    from vllm.v1.worker.gpu.sample.gumbel import gumbel_sample

    reference, last = engine.reference, len(job.prompt) - 1
    whole, ids = torch.tensor([[*job.prompt, *tokens[:-1]]]), torch.tensor([list(job.prompt)])
    with torch.inference_mode():
        if job.connection is None:
            logits = reference.model(input_ids=whole).logits[0, last:]
        else:
            capture = reference.capture(ids, torch.ones_like(ids))
            decision = reference.connection.decide(job.connection, capture.activations, capture.embedding)
            with connected_at(reference.model, torch.tensor([last]), decision.vector):
                logits = reference.model(input_ids=whole).logits[0, last:]
        return gumbel_sample(
            (logits.float() / temperature).contiguous(),
            torch.zeros(len(tokens), dtype=torch.int64),
            torch.tensor([temperature]),
            torch.tensor([seed]),
            torch.arange(last, last + len(tokens)),
            apply_temperature=False,
            is_drafting=False,
        ).tolist()


def test_sampled_tokens_follow_the_connected_distribution_and_the_seed(engine: Engine) -> None:
    jobs = [Job(prompt(640 + n, n), name, max_tokens=6) for n in (1, 20, CHUNK, CHUNK + 1, 131) for name in CONNECTIONS]
    greedy = 0
    for job, output in zip(jobs, engine.run(jobs, temperature=0.8, seed=11), strict=True):
        tokens = list(output.outputs[0].token_ids)
        assert tokens == drawn(engine, job, tokens, 11, 0.8), (len(job.prompt), job.connection)
        greedy += tokens == engine.expect(job).tokens
        TALLY.count(len(tokens))
    assert greedy < len(jobs)


def test_async_scheduling_over_two_processes(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options: dict[str, Any] = {"enforce_eager": True, "max_num_batched_tokens": CHUNK, "max_num_seqs": 16}
    jobs = [Job(prompt(800 + n, n), name) for n in (1, BLOCK, CHUNK, 131) for name in CONNECTIONS]
    with (
        async_scheduling(),
        start_engine(tiny_checkpoint, tensor_parallel_size=2, async_scheduling=True, **options) as engine,
    ):
        assert_async(engine)
        assert engine.compare(jobs) < 1e-4


@pytest.fixture(scope="module")
def speculating(tiny_checkpoint: Path) -> Iterator[Engine]:
    """With drafts by V2's own n-gram search, which async scheduling can have beside it."""
    with (
        async_scheduling(),
        start_small_engine(tiny_checkpoint, async_scheduling=True, speculative_config=NGRAM) as engine,
    ):
        assert_async(engine)
        yield engine


def test_drafts_under_async_scheduling(speculating: Engine) -> None:
    jobs = [Job(prompt(900 + n, n), name, max_tokens=16) for n in LENGTHS for name in CONNECTIONS]
    assert speculating.compare(jobs) < 1e-3
    assert speculating.counter("vllm:spec_decode_num_accepted_tokens") > 0


@random_schedules(8)
def test_random_schedules_with_drafts(
    speculating: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits
) -> None:
    play(speculating, arrivals, preempt_at, limits)
