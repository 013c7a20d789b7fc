"""KV blocks that vLLM's offloading stored and gives back: what is found there changes no token.

The connector and its manager are vLLM's; the copies are made by `tests.support.kv_store`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cc_serve.engine.conftest import (
    BLOCK,
    BLOCKS,
    CHUNK,
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
from tests.support.kv_store import offloading
from tests.support.runners import fewer, thinned
from tests.support.tiny import random_connection, save_checkpoint, tiny_gemma3

HITS = "vllm:external_prefix_cache_hits"


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    with start_small_engine(tiny_checkpoint, kv_transfer_config=offloading()) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _empty_store(request: pytest.FixtureRequest) -> None:
    if "engine" in request.fixturenames:
        forget(request.getfixturevalue("engine"), store=True)


def forget(engine: Engine, *, store: bool = False) -> None:
    """Empty the engine's prefix cache, so that whatever is found comes from the store; or the store, too."""
    assert engine.llm.reset_prefix_cache(reset_connector=store)


def hits_of(engine: Engine, job: Job) -> int:
    """Answer with an empty prefix cache, compare with the reference, and count the tokens that the store gave."""
    forget(engine)
    before = engine.counter(HITS)
    assert engine.compare([job]) < 1e-3
    return int(engine.counter(HITS) - before)


@contextmanager
def few_blocks(engine: Engine, left: int) -> Iterator[None]:
    """Take blocks of the cache away, so that no more than these are left."""
    pool = engine.scheduler.kv_cache_manager.block_pool
    taken = pool.get_new_blocks(max(0, BLOCKS - 1 - left))
    yield
    pool.free_blocks(taken)


def stored(engine: Engine) -> int:
    """How many blocks the store holds."""
    return len(engine.scheduler.connector.connector_scheduler.manager._policy.chunks)


@pytest.mark.parametrize("first", CONNECTIONS[:2])
def test_each_finds_what_is_before_its_anchor(engine: Engine, first: str | None) -> None:
    """Whoever stored it, a plain request or a connected one."""
    for length in thinned((BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 1), 3):
        forget(engine, store=True)
        text = prompt(100 + length, length)
        assert hits_of(engine, Job(text, first, max_tokens=6)) == 0
        before_anchor = (length - 1) // BLOCK * BLOCK
        assert first is None or stored(engine) * BLOCK == before_anchor, "nobody could find the rest"
        for name in CONNECTIONS[1:]:
            assert hits_of(engine, Job(text, name, max_tokens=6)) == before_anchor
        # vLLM loads all of a plain prompt that it finds, and runs the last token again.
        assert hits_of(engine, Job(text, None, max_tokens=6)) == (before_anchor if first else length // BLOCK * BLOCK)


def test_mixed_batch(engine: Engine) -> None:
    jobs = [Job(prompt(length, length), name) for length in thinned(LENGTHS) for name in CONNECTIONS]
    assert engine.compare(jobs) < 1e-3
    for order in (jobs, jobs[::-1]):
        forget(engine)
        before = engine.counter(HITS)
        assert engine.compare(order) < 1e-3
        assert engine.counter(HITS) > before


def test_a_hit_before_chunks(engine: Engine) -> None:
    """The store has the first two blocks, and the rest is computed in chunks."""
    start = prompt(200, 2 * BLOCK)
    assert engine.compare([Job((*start, *prompt(201, 3)), "sw", max_tokens=3)]) < 1e-3
    for extra in (CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + BLOCK, 2 * CHUNK):
        for seed, name in enumerate(CONNECTIONS):
            job = Job((*start, *prompt(1000 * seed + extra, extra)), name, max_tokens=3)
            assert hits_of(engine, job) == 2 * BLOCK


def test_preempted_requests_start_over(engine: Engine) -> None:
    """What they had stored before, they may find, and no more: their own connected blocks are computed again."""
    jobs = [Job(prompt(200 + i, 40 + i), CONNECTIONS[i % 3], max_tokens=60) for i in thinned(range(12))]
    for found in (False, True):
        forget(engine)
        preemptions, hits = engine.counter("vllm:num_preemptions"), engine.counter(HITS)
        with few_blocks(engine, 2 * len(jobs)):  # and each wants three
            assert engine.compare(jobs) < 1e-3
        assert engine.counter("vllm:num_preemptions") > preemptions
        assert engine.counter(HITS) > hits or not found


def test_blocks_are_stored_before_the_next_request_has_them(engine: Engine) -> None:
    """Only one request fits: each takes the blocks of the one before, which ended in the step before."""
    jobs = [Job(prompt(300 + i, 2 * BLOCK + 1), CONNECTIONS[i % 3], max_tokens=1) for i in range(6)]
    with few_blocks(engine, 3):
        assert engine.compare(jobs) < 1e-3
    for job in jobs:
        assert hits_of(engine, job) == 2 * BLOCK


@random_schedules(fewer(15))
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    forget(engine)
    play(engine, arrivals, limits=limits)


def test_asynchronous_scheduling(tiny_checkpoint: Path) -> None:
    with (
        async_scheduling(),
        start_small_engine(tiny_checkpoint, async_scheduling=True, kv_transfer_config=offloading()) as engine,
    ):
        assert_async(engine)
        jobs = [Job(prompt(length, length), name) for length in thinned(LENGTHS) for name in CONNECTIONS]
        assert engine.compare(jobs) < 1e-3
        forget(engine)
        assert engine.compare(jobs[::-1]) < 1e-3
        assert engine.counter(HITS) > 0


def test_sliding_windows_and_chunks_of_two_blocks(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path, tiny_gemma3(), random_connection(["global", "sw"]), ["sw"])
    store = offloading(block_size=2 * BLOCK)
    with start_small_engine(checkpoint, kv_transfer_config=store) as engine:
        jobs = [
            Job(prompt(900 + length, length), name) for length in thinned(LENGTHS[:3:-1], 3) for name in CONNECTIONS
        ]
        assert engine.compare(jobs) < 1e-3
        forget(engine)
        assert engine.compare(jobs[::-1]) < 1e-3
        assert engine.counter(HITS) > 0


def test_one_engine_prefills_and_another_decodes(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By vLLM's example over a folder, which is refused for other reasons: see `cc_serve.engine.kv_connectors`."""
    monkeypatch.setattr("cc_serve.engine.config.connector_problem", lambda config: None)
    lengths = thinned((BLOCK + 2, 40, 2 * BLOCK + 2, 100, 131), 4)  # it fails on whole blocks and one token

    def start(role: str) -> AbstractContextManager[Engine]:
        transfer = {
            "kv_connector": "ExampleConnector",
            "kv_role": role,
            "kv_connector_extra_config": {"shared_storage_path": str(tmp_path)},
        }
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": 256}
        return start_small_engine(tiny_checkpoint, kv_transfer_config=transfer, **whole)

    with start("kv_producer") as engine:
        stored = [Job(prompt(length, length), CONNECTIONS[length % 3], max_tokens=1) for length in lengths]
        assert engine.compare(stored) < 1e-3
        assert engine.counter(HITS) == 0
    jobs = [Job(job.prompt, name) for job in stored for name in CONNECTIONS]
    with start("kv_consumer") as engine:
        for job in jobs:
            assert hits_of(engine, job) == (len(job.prompt) - 1) // BLOCK * BLOCK
        forget(engine)
        assert engine.compare(jobs[::-1]) < 1e-3
