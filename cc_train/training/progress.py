"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_LOGGED = {
    "loss": ("loss", ".4f"),
    "eval_loss": ("evaluation loss", ".4f"),
    "grad_norm": ("gradient norm", ".2f"),
    "learning_rate": ("learning rate", ".2e"),
    "layers_in_use": ("layers in use", ".2f"),
    "epoch": ("epoch", ".2f"),
}


def _bar(*, shown: bool = True) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)


@contextmanager
def progress(what: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], object]]:
    """A progress bar; gives the function that advances it."""
    with _bar(shown=shown and bool(total)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


class TrainingBar(TrainerCallback):
    """The steps on a bar, and each log as a line above it, instead of transformers' own; a context, which ends it."""

    def __init__(self) -> None:
        self._bar = _bar()
        self._task = self._bar.add_task("training", total=None)

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()  # whatever went wrong: it has hidden the cursor

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._bar.start()
            self._bar.update(self._task, total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        figures = [f"{name} {float(logs[key]):{form}}" for key, (name, form) in _LOGGED.items() if logs and key in logs]
        if state.is_world_process_zero and len(figures) > 1:
            self._bar.console.print(f"step {state.global_step}: {', '.join(figures)}", highlight=False, soft_wrap=True)
