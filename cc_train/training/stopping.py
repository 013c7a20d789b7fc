"""SIGTERM and Ctrl-C: training finishes its step, saves, and stops, so that it can be resumed exactly."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A signal ended the run before it was finished.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that shells give a process which this signal ended."""
        return 128 + self.number


class StopCallback(TrainerCallback):
    """While the context is open, a signal raises `Stopped`. During training the current step ends and is saved first.

    A second Ctrl-C stops at once. Every process of a parallel job stops at the same step, whichever got the signal.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._training = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopCallback:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread handle signals
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        self._training = True
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        self.number = _of_any_process(self.number, args)
        if self.number is not None:
            control.should_log = control.should_save = control.should_training_stop = True
        return control

    def raise_if_asked(self) -> None:
        """Say that training is over, and raise `Stopped` if a signal came during it."""
        self._training = False
        if self.number is not None:
            raise Stopped(self.number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._training and (self.number is None or number == signal.SIGTERM):
            self.number = number
        else:
            raise Stopped(number)


def _of_any_process(number: int | None, args: TrainingArguments) -> int | None:
    if args.world_size == 1:
        return number
    told = torch.tensor(number or 0, device=args.device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    return int(told) or None
