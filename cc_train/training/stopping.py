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
    """The run was asked to end, and did before it was finished.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell shows for a process that this signal ended."""
        return 128 + self.number


class StopCallback(TrainerCallback):
    """While entered, a signal raises `Stopped`; while training, it is noted, and the step's end saves and stops.

    A second Ctrl-C does not wait for that. Every process of a parallel job stops at the same step, whichever was told.
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
        """Ends the run after training; raises `Stopped` if a signal came."""
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
