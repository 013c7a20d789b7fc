"""The pool of places: never more than it has, a share for everybody, nearly all for whoever is alone."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_serve.api.tenants.pool import Member, Memory, Pool, shared_memory

MOST = 100
TURNS = 5_000

SIZES = st.integers(1, 60)
WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)
# Who asks for a place, and who gives one back; numbers of members.
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=300)


def members_of(weights: Sequence[float]) -> list[Member]:
    return [Member(number, weight, "this key's") for number, weight in enumerate(weights)]


def kept_of(most: int) -> int:
    """An eighth, rounded up, unless that is all."""
    return min(-(-most // 8), most - 1)


def fill(pool: Pool, most: int, member: Member | None) -> int:
    """How many get in before one is refused."""
    entered = 0
    while pool.enter(most, member) is None:
        entered += 1
        assert entered <= most
    return entered


@given(SIZES, WEIGHTS, STEPS)
def test_nobody_gets_a_place_too_many_or_is_kept_from_a_share(
    most: int, weights: list[float], steps: list[tuple[bool, int]]
) -> None:
    pool, members, held = Pool(), members_of(weights), Counter[int]()
    for enters, index in steps:
        member = members[index % len(members)]
        if not enters:
            if held[member.number]:
                pool.leave(member)
                held[member.number] -= 1
            continue
        free = most - held.total()
        active = {number for number, count in held.items() if count} | {member.number}
        share = (most - kept_of(most)) * member.weight / sum(weights[number] for number in active)
        refusal = pool.enter(most, member)
        if free == 0:
            assert refusal is not None
            assert refusal.limit == "concurrent_requests"
        elif free > kept_of(most) or held[member.number] < share * (1 - 1e-9):
            assert refusal is None
        elif held[member.number] > share * (1 + 1e-9):
            assert refusal is not None
            assert refusal.limit == "concurrent_requests_share"
        held[member.number] += refusal is None
        assert pool.running == held.total() <= most


@given(SIZES, st.floats(0.01, 100))
def test_whoever_is_alone_gets_all_but_what_is_kept(most: int, weight: float) -> None:
    alone, other = members_of([weight, 1.0])
    pool = Pool()
    assert fill(pool, most, alone) == most - kept_of(most)
    assert (pool.enter(most, other) is None) == (most > 1), "there is a place for another one at once"


@given(SIZES)
def test_without_others_a_pool_is_used_up(most: int) -> None:
    assert fill(Pool(), most, None) == most


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (4, 1), (1, 1, 2)])
def test_a_burst_of_one_leaves_the_others_their_shares(weights: tuple[float, ...]) -> None:
    """The first asks ten times as often, and has all it can get when the others come."""
    most, pool, members, held = 40, Pool(), members_of(weights), Counter[int]()
    choice = random.Random(0)
    asks = [*range(1, len(members)), *[0] * 10]
    held[0] = fill(pool, most, members[0])
    for _ in range(1_000):
        leaving = choice.choices(list(held), list(held.values()))[0]  # whose answer is over
        pool.leave(members[leaving])
        held[leaving] -= 1
        for asking in choice.sample(asks, len(asks)):
            held[asking] += pool.enter(most, members[asking]) is None
    shares = [35 * weight / sum(weights) for weight in weights]
    assert all(abs(held[index] - share) <= 5 for index, share in enumerate(shares)), (held, shares)


def test_a_refusal_says_why() -> None:
    pool, (alice, bob) = Pool(), members_of([1, 1])
    assert fill(pool, 16, alice) == 14
    refusal = pool.enter(16, alice)
    assert refusal is not None
    assert (refusal.status, refusal.limit) == (503, "concurrent_requests_share")
    assert refusal.message == (
        "the server is busy with 14 requests, and 14 of them are this key's; the last 2 of its 16 places are kept for "
        "others that hold less than their share"
    )
    assert fill(pool, 16, bob) == 2
    refusal = pool.enter(16, bob)
    assert refusal is not None
    assert (refusal.status, refusal.message) == (503, "the server is busy with 16 requests")


def test_a_refusal_counts_one_request_as_one() -> None:
    pool, (alice, bob) = Pool(), members_of([1, 1])
    assert pool.enter(2, alice) is None
    refusal = pool.enter(2, alice)
    assert refusal is not None
    assert refusal.message.startswith("the server is busy with 1 request, and 1 of them is this key's; the last 1 of")
    refusal = pool.enter(1, bob)
    assert refusal is not None
    assert refusal.message == "the server is busy with 1 request"


def in_processes(work: Callable[..., None], count: int) -> tuple[Pool, list[Any]]:
    """The pool after ``count`` processes have worked with it, and what each has told."""
    context = multiprocessing.get_context("fork")
    memory, told = shared_memory(context, count), context.SimpleQueue()
    workers = [context.Process(target=work, args=(memory, index, told)) for index in range(count)]
    for worker in workers:
        worker.start()
    results = [told.get() for _ in workers]
    for worker in workers:
        worker.join(60)
    return Pool(memory), results


def _enter_and_leave(memory: Memory, index: int, told: Any) -> None:
    pool, member, held, highest = Pool(memory, index), members_of([1, 1])[index], 0, 0
    for turn in range(TURNS):
        if pool.enter(MOST, member) is None:
            held += 1
            highest = max(highest, pool.running)
        elif held:
            pool.leave(member)
            held -= 1
        if turn % 3 == 0 and held:
            pool.leave(member)
            held -= 1
    told.put((held, highest))


def test_two_processes_exceed_the_limit_by_one_at_most() -> None:
    pool, told = in_processes(_enter_and_leave, 2)
    assert max(highest for _, highest in told) <= MOST + 1
    assert pool.running == sum(held for held, _ in told)


def test_a_share_is_of_all_processes() -> None:
    memory = shared_memory(multiprocessing.get_context("fork"), 2)
    one, other = Pool(memory, 0), Pool(memory, 1)
    alice, bob = members_of([1, 3])
    for pool in (one, other) * 7:
        assert pool.enter(16, alice) is None
    assert one.enter(16, alice) is not None
    assert other.enter(16, alice) is not None
    assert one.enter(16, bob) is None
    one.leave(alice)
    other.leave(alice)  # 12 of hers, whose share is 14 / 4 now, by a weight that only the other process was told
    other.leave(alice)
    assert other.enter(16, alice) is None, "13 run: the last places are not begun"
    assert other.enter(16, alice) is None
    assert other.enter(16, alice) is not None
    assert other.enter(16, bob) is None
    assert one.running == other.running == 15
