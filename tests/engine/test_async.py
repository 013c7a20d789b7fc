"""Async scheduling, vLLM's default on GPUs: the next step is scheduled while this one runs.

vLLM's CPU platform turns it off; here it stays on, over the same CPU model runner.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vllm.platforms.cpu import CpuPlatform

from cc_serve.engine.scheduler import ConnectedAsyncScheduler
from tests.engine import test_faults as faults
from tests.engine.conftest import CHUNK, CONNECTIONS, LENGTHS, Engine, Job, prompt, start_small_engine
from tests.engine.test_schedules import STEPS, Arrival, Limits, play, random_schedules


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    stock = CpuPlatform.check_and_update_config.__func__

    def keep_async(cls: type, vllm_config: Any) -> None:
        stock(cls, vllm_config)
        vllm_config.scheduler_config.async_scheduling = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuPlatform, "check_and_update_config", classmethod(keep_async))
        with start_small_engine(tiny_checkpoint, async_scheduling=True) as engine:
            core = engine.llm.llm_engine.engine_core.engine_core
            assert type(core.scheduler) is ConnectedAsyncScheduler
            assert core.batch_queue_size == 2
            yield engine


def test_mixed_batch(engine: Engine) -> None:
    jobs = [Job(prompt(length, length), name) for length in LENGTHS for name in CONNECTIONS]
    assert engine.compare(jobs) < 1e-3
    assert engine.compare(jobs) < 1e-3


def test_preempted_requests_start_over(engine: Engine) -> None:
    jobs = [Job(prompt(200 + i, 40 + i), CONNECTIONS[i % 3], max_tokens=60) for i in range(24)]
    before = engine.counter("vllm:num_preemptions")
    assert engine.compare(jobs) < 1e-3
    assert engine.counter("vllm:num_preemptions") > before


@pytest.mark.parametrize("step", STEPS)
def test_preemption_and_abort_in_each_phase(engine: Engine, step: int) -> None:
    jobs = [Job(prompt(2000 + i, 2 * CHUNK + 5), name) for i, name in enumerate(CONNECTIONS)]
    play(engine, [Arrival(job) for job in jobs], frozenset({step, step + 1, step + 3}))
    play(engine, [Arrival(jobs[2], aborted_after=step + 1), *(Arrival(job) for job in jobs[:2])])


@random_schedules(20)
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    play(engine, arrivals, preempt_at, limits)


def test_a_refusal_while_the_next_step_runs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.test_activations_that_are_not_finite_end_their_own_request(engine, monkeypatch, float("nan"))
    faults.test_nothing_is_left_behind(engine)
