"""Waiting requests of several tenants take turns, in the queue by itself and in a real engine."""

from __future__ import annotations

import random
from collections import Counter, deque
from typing import Any

import pytest
from vllm import SamplingParams
from vllm.v1.request import Request, RequestStatus

from cc_serve.engine.turns import TurnQueue
from tests.cc_serve.engine.conftest import Engine, Job, prompt


def request(name: str, tenant: int | None = None, weight: float = 1.0) -> Request:
    arguments = None if tenant is None else {"cc_tenant": tenant, "cc_weight": weight}
    return Request(name, [1, 2], SamplingParams(max_tokens=1, extra_args=arguments), None)


def drained(queue: TurnQueue) -> list[str]:
    taken = []
    while queue:
        expected = queue.peek_request()
        assert queue.pop_request() is expected
        taken.append(expected.request_id)
    return taken


def test_one_tenant_is_served_in_order() -> None:
    for tenant in (None, 1):
        queue = TurnQueue()
        for number in range(5):
            queue.add_request(request(str(number), tenant))
        assert len(queue) == 5
        assert [each.request_id for each in queue] == drained(queue) == list("01234")
        assert (len(queue), bool(queue)) == (0, False)
        with pytest.raises(IndexError):
            queue.peek_request()


def test_tenants_take_turns_however_many_one_has() -> None:
    queue = TurnQueue()
    for number in range(10):
        queue.add_request(request(f"a{number}", 1))
    for number in range(3):
        queue.add_request(request(f"b{number}", 2))
    assert drained(queue)[:7] == ["a0", "b0", "a1", "b1", "a2", "b2", "a3"]


def test_turns_are_weighted() -> None:
    queue = TurnQueue()
    for number in range(40):
        queue.add_request(request(f"a{number}", 1))
        queue.add_request(request(f"b{number}", 2, 3.0))
    assert Counter(name[0] for name in drained(queue)[:40]) == {"a": 10, "b": 30}


@pytest.mark.parametrize("tenant", [[1], {}, "a", 1.5, True, float("nan")])
@pytest.mark.parametrize("weight", [1e-320, float("inf"), float("nan"), -1.0, [1]])
def test_arguments_that_are_not_the_servers_make_no_tenant(tenant: Any, weight: Any) -> None:
    queue = TurnQueue()
    queue.add_request(request("a0"))
    for number in range(3):
        queue.add_request(request(f"b{number}", tenant, weight))
    queue.add_request(request("c0", 1))
    assert drained(queue) == ["a0", "c0", "b0", "b1", "b2"]


def test_a_pause_earns_nothing() -> None:
    queue = TurnQueue()
    for number in range(20):
        queue.add_request(request(f"a{number}", 1))
    for _ in range(10):
        queue.pop_request()
    for number in range(10):
        queue.add_request(request(f"b{number}", 2))
    assert Counter(name[0] for name in drained(queue)[:10]) == {"a": 5, "b": 5}


def test_what_was_preempted_comes_first() -> None:
    queue = TurnQueue()
    for number in range(3):
        queue.add_request(request(f"a{number}", 1))
    preempted = [request("preempted", 2), request("y"), request("x")]
    for each in preempted:
        each.status = RequestStatus.PREEMPTED
    queue.prepend_request(preempted[0])
    queue.prepend_requests(preempted[1:])
    assert drained(queue) == ["x", "y", "preempted", "a0", "a1", "a2"]


def skipped(queue: TurnQueue, tenant: int, free: int) -> list[str]:
    """One of vLLM's steps, with room for ``free`` requests, in which those of ``tenant`` cannot run yet."""
    back: deque[Request] = deque()
    taken: list[str] = []
    while queue and len(taken) < free:
        popped = queue.pop_request()
        if popped.request_id.startswith(f"g{tenant}"):
            back.appendleft(popped)
        else:
            taken.append(popped.request_id)
    queue.prepend_requests(back)
    return taken


@pytest.mark.parametrize(("weight", "share"), [(1.0, 4), (0.25, 2)])
def test_what_cannot_run_yet_keeps_its_place_and_gets_no_other(weight: float, share: int) -> None:
    queue = TurnQueue()
    for number in range(20):
        queue.add_request(request(f"g1-{number}", 1, weight))
    for number in range(12):
        queue.add_request(request(f"b{number}", 2))
    assert skipped(queue, 1, 2) == ["b0", "b1"], "others do not wait for it"
    assert skipped(queue, 1, 20) == [f"b{number}" for number in range(2, 12)]
    for number in range(12, 18):
        queue.add_request(request(f"b{number}", 2))
        queue.add_request(request(f"c{number}", 3))
    order = drained(queue)
    assert [name for name in order if name[0] == "g"] == [f"g1-{number}" for number in range(20)], "in order"
    first = Counter(name[0] for name in order[:12])
    assert first["g"] <= share, "it gets round nobody, nor saves turns up"
    assert abs(first["b"] - first["c"]) <= 1, "and no newcomer is ahead of who was served meanwhile"


def test_against_vllms_own_queue_with_one_tenant() -> None:
    """Whatever vLLM does with a queue, one tenant's requests stay first come first served."""
    from vllm.v1.core.sched.request_queue import FCFSRequestQueue

    choose = random.Random(5)
    ours, theirs = TurnQueue(), FCFSRequestQueue()
    for number in range(500):
        made = request(str(number), 1)
        action = choose.choice(["add", "add", "add", "pop", "back", "remove"])
        for queue in (ours, theirs):
            if action == "add" or not queue:
                queue.add_request(made)
            elif action == "pop":
                queue.pop_request()
            elif action == "back":
                queue.prepend_request(queue.pop_request())
        if action == "remove" and theirs:
            gone = choose.sample(list(theirs), min(2, len(theirs)))
            for queue in (ours, theirs):
                queue.remove_requests(gone)
        assert [each.request_id for each in ours] == [each.request_id for each in theirs]
        assert len(ours) == len(theirs)


def test_in_the_engine_the_few_of_one_do_not_wait_for_the_many_of_another(engine: Engine) -> None:
    assert type(engine.scheduler.waiting) is TurnQueue

    def job(tenant: int, seed: int) -> tuple[Job, SamplingParams]:
        made = Job(prompt(seed, 20), "sw" if seed % 2 else None, max_tokens=20)
        parameters: Any = made.parameters()
        parameters.extra_args = {**(parameters.extra_args or {}), "cc_tenant": tenant, "cc_weight": 1.0}
        return made, parameters

    many = [(f"many{seed}", *job(1, seed)) for seed in range(80)]
    few = [(f"few{seed}", *job(2, seed)) for seed in range(8)]
    for name, made, parameters in [*many, *few]:
        engine.llm.llm_engine.add_request(name, {"prompt_token_ids": list(made.prompt)}, parameters)
    order: list[str] = []
    while engine.llm.llm_engine.has_unfinished_requests():
        order += [output.request_id for output in engine.llm.llm_engine.step() if output.finished]
    assert len(order) == 88
    last = max(order.index(name) for name, _, _ in few)
    print(f"of 88 requests, the last of the few is done after {last + 1}")
    assert last < 16 + 2 * len(few) + 16, "a batch, turns for each, and a batch that is still running"
