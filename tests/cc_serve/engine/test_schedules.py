"""Whatever the schedule: every chunk remainder, preemption and abort in each phase, and random ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vllm import RequestOutput
from vllm.v1.request import Request

from cc_serve.engine.scheduler import Phase
from tests.cc_serve.engine.conftest import BLOCK, BLOCKS, CHUNK, CONNECTIONS, Engine, Job, prompt
from tests.support.runners import fewer, thinned

# In which phase a connected request of three chunks is after so many steps: it decodes from the fifth on.
PHASES = [*[Phase.PREFILL] * 3, Phase.CAPTURED, *[Phase.CONNECTED] * 4]
in_each_phase = pytest.mark.parametrize(("step", "phase"), list(enumerate(PHASES)))


@dataclass(frozen=True)
class Arrival:
    """A job, the step at which it arrives, and how many steps later it is aborted, if at all."""

    job: Job
    step: int = 0
    aborted_after: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a schedule has to do with: tokens and requests of a step, and blocks that are missing from the cache."""

    tokens: int = CHUNK
    requests: int = 16
    blocks_taken: int = 0


@dataclass
class Seen:
    """What a schedule met: the phases of connected requests when they were preempted and aborted; what each captured.

    ``captures`` by arrival, of those that ended by themselves.
    """

    preempted: list[Phase] = field(default_factory=list)
    aborted: list[Phase] = field(default_factory=list)
    captures: dict[int, int] = field(default_factory=dict)


def play(
    engine: Engine,
    arrivals: list[Arrival],
    preempt_at: frozenset[int] = frozenset(),
    limits: Limits = Limits(),
) -> Seen:
    """Run step by step, preempting all that runs before the steps named; whatever ends must be the reference's."""
    core, scheduler, seen = engine.llm.llm_engine, engine.scheduler, Seen()
    preempt = scheduler._preempt_request

    def preempt_and_tell(request: Request, *args: Any, **kwargs: Any) -> None:
        if connected := scheduler._connected.get(request.request_id):
            seen.preempted.append(connected.phase)
        preempt(request, *args, **kwargs)

    scheduler._preempt_request = preempt_and_tell
    scheduler.max_num_scheduled_tokens, scheduler.max_num_active_reqs = limits.tokens, limits.requests
    pool = scheduler.kv_cache_manager.block_pool
    taken = pool.get_new_blocks(limits.blocks_taken)
    waiting = {f"{index}-{id(arrivals)}": arrival for index, arrival in enumerate(arrivals)}
    started: dict[str, int] = {}
    answers: dict[str, RequestOutput] = {}
    step = 0
    while waiting or core.has_unfinished_requests():
        for name in [name for name, arrival in waiting.items() if arrival.step <= step]:
            job = waiting[name].job
            core.add_request(name, {"prompt_token_ids": list(job.prompt)}, job.parameters(logprobs=0))
            started[name] = step
            del waiting[name]
        if step in preempt_at:
            pool.free_blocks(taken)  # which would keep the cache from being reset
            assert scheduler.reset_prefix_cache(reset_running_requests=True)
            taken = pool.get_new_blocks(limits.blocks_taken)
        for output in core.step():
            if output.finished:
                answers[output.request_id] = output
        step += 1
        for index, arrival in enumerate(arrivals):
            name = f"{index}-{id(arrivals)}"
            if arrival.aborted_after is not None and started.get(name, step) + arrival.aborted_after == step:
                # By vLLM's own id, which begins with ours.
                seen.aborted += [c.phase for id_, c in scheduler._connected.items() if id_.startswith(name)]
                core.abort_request([name])
    pool.free_blocks(taken)
    scheduler._preempt_request = preempt
    scheduler.max_num_scheduled_tokens, scheduler.max_num_active_reqs = Limits.tokens, Limits.requests
    for index, arrival in enumerate(arrivals):
        output = answers.get(f"{index}-{id(arrivals)}")
        if output is None or output.outputs[0].finish_reason == "abort":
            assert arrival.aborted_after is not None
            continue
        assert engine.check(arrival.job, output) < 1e-3
        if arrival.job.connection:
            seen.captures[index] = output.kv_transfer_params["cc_connection"]["captures"]
    assert not scheduler._connected
    assert not scheduler._problems
    assert sorted(scheduler._free_slots) == [0, 1]
    return seen


def test_every_chunk_remainder(engine: Engine) -> None:
    jobs = [Job(prompt(1000, length), "sw", max_tokens=3) for length in thinned(range(1, 2 * CHUNK + 2), 5)]
    for job in jobs:  # alone, so that the chunks are cut where this prompt's length says
        assert engine.compare([job]) < 1e-3


@in_each_phase
def test_preemption_in_each_phase(engine: Engine, step: int, phase: Phase) -> None:
    jobs = [Job(prompt(2000 + i, 2 * CHUNK + 5), name) for i, name in enumerate(CONNECTIONS)]
    engine.llm.reset_prefix_cache()  # or the prompt would not be three chunks
    alone = play(engine, [Arrival(jobs[2])], frozenset({step}))
    assert alone.preempted == ([phase] if step else [])  # before the first step, nothing runs
    assert alone.captures == {0: 1 if phase is Phase.PREFILL else 2}
    play(engine, [Arrival(job) for job in jobs], frozenset({step, step + 1, step + 3}))


@in_each_phase
def test_abort_in_each_phase(engine: Engine, step: int, phase: Phase) -> None:
    jobs = [Job(prompt(3000 + i, 2 * CHUNK + 5), name) for i, name in enumerate(CONNECTIONS)]
    engine.llm.reset_prefix_cache()
    seen = play(engine, [Arrival(jobs[2], aborted_after=step), *(Arrival(job) for job in jobs[:2])])
    assert seen.aborted == ([phase] if step else [])  # after no step at all, it has not been aborted


# One block fewer than two requests need: the first to arrive takes its second block in the fourth step.
TIGHT = Limits(blocks_taken=BLOCKS - 1 - 2)
for_want_of_memory = pytest.mark.parametrize(("arrival", "phase"), [(1, Phase.CONNECTED), (2, Phase.CAPTURED)])


@for_want_of_memory
def test_preemption_for_want_of_memory(engine: Engine, arrival: int, phase: Phase) -> None:
    first, second = Job(prompt(2100, BLOCK - 2), None), Job(prompt(2101, 15), "sw")
    seen = play(engine, [Arrival(first), Arrival(second, arrival)], limits=TIGHT)
    assert seen.preempted == [phase]
    assert seen.captures == {1: 2}


def test_cached_up_to_the_anchor_and_no_further(engine: Engine) -> None:
    """A plain request caches the anchor's block, too; a connected one must not read it, nor the reverse."""
    for length in (2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 2 * BLOCK + 2):
        for names in (CONNECTIONS, CONNECTIONS[::-1]):
            engine.llm.reset_prefix_cache()
            for name in names:
                assert engine.compare([Job(prompt(4000, length), name)]) < 1e-3
            # Of the same length, they compute the anchor's block themselves; a longer one would find it.
            for name in names:
                assert engine.compare([Job(prompt(4000, length + BLOCK), name)]) < 1e-3


def test_conversation_connects_the_newest_anchor_only(engine: Engine) -> None:
    """The history of a conversation is plain: what was answered under a connection is read as any text."""
    history = prompt(5000, 40)
    for turn in range(4):
        job = Job(history, CONNECTIONS[1 + turn % 2], max_tokens=20)
        assert engine.compare([job]) < 1e-3
        history = (*history, *engine.expect(job).tokens, *prompt(5001 + turn, 7))


JOBS = st.builds(
    lambda base, length, seed, extra, name, tokens: Job(
        (*prompt(6000 + base, length), *prompt(7000 + seed, extra)), name, tokens
    ),
    st.integers(0, 2),
    st.sampled_from([0, 10, BLOCK, 2 * BLOCK, CHUNK, 100]),
    st.integers(0, 5),
    st.integers(1, 40),
    st.sampled_from(CONNECTIONS),
    st.sampled_from([1, 2, 8, 24]),
)
ARRIVALS = st.lists(
    st.builds(Arrival, JOBS, st.integers(0, 12), st.none() | st.integers(1, 12)), min_size=1, max_size=16
)
LIMITS = st.builds(Limits, st.integers(5, CHUNK), st.integers(1, 16), st.integers(0, 20))


def random_schedules(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test that takes ``arrivals``, ``preempt_at`` and ``limits`` on that many of them."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        given_test = given(arrivals=ARRIVALS, preempt_at=st.frozensets(st.integers(0, 15), max_size=3), limits=LIMITS)
        plain = settings(
            max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
        )
        return plain(given_test(test))

    return decorate


@random_schedules(fewer(60))
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    play(engine, arrivals, preempt_at, limits)


def test_answers_do_not_depend_on_neighbours_or_cache(engine: Engine) -> None:
    """Alone with an empty cache, then in a crowd with a full one: the same tokens, and the plain ones stay plain."""
    jobs = [Job(prompt(8000 + n, n), name, max_tokens=16) for n in (20, BLOCK, 90) for name in CONNECTIONS]
    crowd = [Job(prompt(8000 + n, n + 3), name) for n in (20, BLOCK, 90) for name in CONNECTIONS]
    alone = []
    for job in jobs:
        engine.llm.reset_prefix_cache()
        alone.append(engine.run([job])[0].outputs[0].token_ids)
    together = [output.outputs[0].token_ids for output in engine.run([*crowd, *jobs, *jobs])[len(crowd) :]]
    assert together == [*alone, *alone]
