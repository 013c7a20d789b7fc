"""The default for users: compiled graphs, under preemption and random schedules. Most other tests are eager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vllm.config import CompilationMode

from cc_serve.engine.scheduler import Phase
from tests.cc_serve.engine import test_schedules as schedules
from tests.cc_serve.engine.conftest import Engine, start_small_engine
from tests.cc_serve.engine.test_schedules import Arrival, Limits, play, random_schedules
from tests.support.runners import fewer


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    with start_small_engine(tiny_checkpoint, enforce_eager=False) as engine:
        assert engine.llm.llm_engine.vllm_config.compilation_config.mode != CompilationMode.NONE
        yield engine


@schedules.in_each_phase
def test_preemption_in_each_phase(engine: Engine, step: int, phase: Phase) -> None:
    schedules.test_preemption_in_each_phase(engine, step, phase)


@random_schedules(fewer(20))
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    play(engine, arrivals, preempt_at, limits)
