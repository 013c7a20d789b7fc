"""Async scheduling, vLLM's default on GPUs: the next step is scheduled while this one runs.

vLLM's CPU platform turns it off; here it stays on, over the same CPU model runner.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_serve.engine.scheduler import Phase
from tests.cc_serve.engine import test_faults as faults
from tests.cc_serve.engine import test_schedules as schedules
from tests.cc_serve.engine.conftest import (
    CONNECTIONS,
    LENGTHS,
    Engine,
    Job,
    assert_async,
    async_scheduling,
    prompt,
    start_small_engine,
)
from tests.cc_serve.engine.test_schedules import Arrival, Limits, play, random_schedules
from tests.support.runners import fewer, thinned


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    with async_scheduling(), start_small_engine(tiny_checkpoint, async_scheduling=True) as engine:
        assert_async(engine)
        yield engine


def test_mixed_batch(engine: Engine) -> None:
    jobs = [Job(prompt(length, length), name) for length in thinned(LENGTHS) for name in CONNECTIONS]
    assert engine.compare(jobs) < 1e-3
    assert engine.compare(jobs) < 1e-3


def test_preempted_requests_start_over(engine: Engine) -> None:
    jobs = [Job(prompt(200 + i, 40 + i), CONNECTIONS[i % 3], max_tokens=60) for i in thinned(range(24))]
    before = engine.counter("vllm:num_preemptions")
    assert engine.compare(jobs) < 1e-3
    assert engine.counter("vllm:num_preemptions") > before


@schedules.in_each_phase
def test_preemption_and_abort_in_each_phase(engine: Engine, step: int, phase: Phase) -> None:
    schedules.test_preemption_in_each_phase(engine, step, phase)
    schedules.test_abort_in_each_phase(engine, step, phase)


@schedules.for_want_of_memory
def test_preemption_for_want_of_memory(engine: Engine, arrival: int, phase: Phase) -> None:
    schedules.test_preemption_for_want_of_memory(engine, arrival, phase)


@random_schedules(fewer(20))
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    play(engine, arrivals, preempt_at, limits)


def test_more_anchors_in_one_step_than_slots(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.test_more_anchors_in_one_step_than_slots(engine, monkeypatch)


def test_a_refusal_while_the_next_step_runs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.test_a_token_without_finite_activations_ends_its_own_request(engine)
    faults.test_an_infinite_activation_ends_its_own_request(engine, monkeypatch)
    faults.test_nothing_is_left_behind(engine)
