"""Ctrl-C is kept, whatever the code that it meets makes of it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cc_core.terminal.interrupts import interrupts_kept


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Descriptor:
    def __set_name__(self, owner: type, name: str) -> None:
        interrupt()


def dropped() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def turned_into_another() -> None:
    type("Owner", (), {"field": Descriptor()})  # RuntimeError: Error calling __set_name__


@pytest.mark.parametrize("meet", [interrupt, dropped, turned_into_another])
def test_an_interrupt_is_one_afterwards(meet: object) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        meet()  # type: ignore[operator]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_one_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ImportError), interrupts_kept():
        raise ImportError
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_may_use_it() -> None:
    done = []

    def work() -> None:
        with interrupts_kept():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
