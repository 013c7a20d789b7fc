"""The report while the training goes on, so that a run can be watched without any service."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cc_train.report.page import STATE_FILE, write_report
from cc_train.terminal.notes import Say
from cc_train.training.stopping import Stopped

# The first report comes after this many seconds; a shorter run ends before anybody opens it.
EVERY: Final = 30.0
# Writing takes at most one second in this many seconds of the run.
SHARE: Final = 50


class LiveReport(TrainerCallback):
    """Writes ``report.html`` into ``directory`` after a log, now and then. It says an error once, and stops.

    Args:
        directory: in which the run is built.
        name: of the model.
        say: hears where the report is.
        every: seconds between two reports, at least.
    """

    def __init__(self, directory: Path, name: str, say: Say, every: float | None = None) -> None:
        self._directory, self._name, self._say = directory, name, say
        self._pause = EVERY if every is None else every
        self._next = time.monotonic() + self._pause
        self._said = False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        begun = time.monotonic()
        if not state.is_world_process_zero or begun < self._next:
            return
        try:
            state.save_to_json(str(self._directory / STATE_FILE))
            path = write_report(self._directory, self._name, running=True)
        except Stopped:
            raise
        except Exception as error:  # a picture is not worth a training run
            self._say(f"The report cannot be written while the run goes on ({type(error).__name__}: {error}).")
            self._next = float("inf")
            return
        if not self._said:
            self._say(f"Watch the run, in a browser: {path}")
            self._said = True
        now = time.monotonic()
        self._next = now + max(self._pause, SHARE * (now - begun))
