"""What processes share: the number of running requests, and the numbers of keys."""

from __future__ import annotations

import multiprocessing
from ctypes import Array, c_longlong
from typing import Any

from cc_serve.api.processes.share import Running, Share

MOST = 100
TURNS = 5_000


def _enter_and_leave(counts: Array[c_longlong], index: int, highest: Any, kept: Any) -> None:
    running, held, seen = Running(counts, index), 0, 0
    for turn in range(TURNS):
        if running.enter(MOST):
            held += 1
            seen = max(seen, running.value)
        elif held:
            running.leave()
            held -= 1
        if turn % 3 == 0 and held:
            running.leave()
            held -= 1
    highest.put(seen)
    kept.put(held)


def test_two_processes_exceed_the_limit_by_one_at_most() -> None:
    context = multiprocessing.get_context("fork")
    counts, highest, kept = context.RawArray(c_longlong, 2), context.SimpleQueue(), context.SimpleQueue()
    workers = [context.Process(target=_enter_and_leave, args=(counts, i, highest, kept)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert MOST <= max(highest.get() for _ in workers) <= MOST + 1
    assert sum(counts) == sum(kept.get() for _ in workers)


def test_both_kinds_count_alike() -> None:
    for running in (Share().running, Running(multiprocessing.RawArray(c_longlong, 2), 1)):
        assert [running.enter(2) for _ in range(3)] == [True, True, False]
        running.leave()
        assert (running.value, running.enter(None), running.enter(2)) == (1, True, False)


def test_a_key_has_one_number_in_all_processes_of_a_server() -> None:
    secret = bytes(16)
    names = [f"key-{index}" for index in range(1000)]
    numbers = [Share(secret=secret).number_of(name) for name in names]
    assert numbers == [Share(2, secret=secret).number_of(name) for name in names]
    assert len(set(numbers)) == len(names)
    assert all(float(number) == number < 1 << 48 for number in numbers)
    assert Share().number_of("key-0") != Share().number_of("key-0"), "logs of two starts do not tell who is who"
