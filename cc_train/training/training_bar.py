"""Training's progress on stderr."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cc_train.terminal.progress import progress_bar

_LOGGED = {
    "loss": ("loss", ".4f"),
    "eval_loss": ("evaluation loss", ".4f"),
    "eval_score": ("task score", ".3f"),
    "alignment": ("alignment", ".3f"),
    "grad_norm": ("gradient norm", ".2f"),
    "learning_rate": ("learning rate", ".2e"),
    "layers_in_use": ("layers in use", ".2f"),
    "epoch": ("epoch", ".2f"),
}


class TrainingBar(TrainerCallback):
    """Shows the steps on a bar, and each log as a line above it, in place of transformers' own output.

    Use it as a context: its end stops the bar.
    """

    def __init__(self) -> None:
        self._bar = progress_bar()
        self._task = self._bar.add_task("training", total=None)

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()  # after an error too, since the bar hides the cursor

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
