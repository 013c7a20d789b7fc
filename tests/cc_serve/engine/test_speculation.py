"""N-gram speculation beside the connection: what is proposed is verified under it, and no draft reaches an anchor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cc_serve.engine.conftest import CONNECTIONS, LENGTHS, Engine, Job, prompt, start_small_engine
from tests.cc_serve.engine.test_schedules import Arrival, Limits, play, random_schedules
from tests.support.runners import fewer

NGRAM = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_min": 1, "prompt_lookup_max": 3}


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    with start_small_engine(tiny_checkpoint, speculative_config=NGRAM) as engine:
        yield engine


def test_drafts_are_accepted_and_answers_stay_the_references(engine: Engine) -> None:
    jobs = [Job(prompt(900 + n, n), name, max_tokens=24) for n in LENGTHS for name in CONNECTIONS]
    assert engine.compare(jobs) < 1e-3
    assert engine.counter("vllm:spec_decode_num_accepted_tokens") > 0


@random_schedules(fewer(30))
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    play(engine, arrivals, preempt_at, limits)
