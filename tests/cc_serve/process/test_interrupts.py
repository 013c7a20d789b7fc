"""Ctrl-C is remembered, whatever the code that it meets makes of it."""

from __future__ import annotations

import os
import signal

import pytest

from cc_serve.process.interrupts import Interrupts


def test_an_interrupt_that_an_import_turned_into_another_error_is_known() -> None:
    class Descriptor:
        def __set_name__(self, owner: type, name: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with Interrupts() as interrupts, pytest.raises(RuntimeError, match="__set_name__"):
        type("Owner", (), {"field": Descriptor()})
    assert interrupts.seen


def test_an_interrupt_that_an_import_dropped_is_raised_after_it() -> None:
    with Interrupts() as interrupts:
        interrupts.raise_if_seen()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_if_seen()


def test_afterwards_python_handles_it_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is before
