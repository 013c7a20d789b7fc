"""What Trainer's log history says of a whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import IntervalStrategy, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cc_train.log_names import ALIGNMENT


class LogCallback(TrainerCallback):
    """Logs also when the run evaluates, saves or ends, so that a log has the loss of every step."""

    begun = 0
    """The step from which the run was resumed; 0 for a new run."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.begun = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if control.should_training_stop or control.should_evaluate or control.should_save:
            _log(args, control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if control.should_evaluate or control.should_save:
            _log(args, control)


def _log(args: TrainingArguments, control: TrainerControl) -> None:
    if args.logging_strategy != IntervalStrategy.NO:
        control.should_log = True


def mean_loss(history: Sequence[Mapping[str, float]], begun: int, made: int, loss: float) -> float:
    """The mean training loss over all steps of a run, also over those before it was resumed.

    Args:
        history: Trainer's log history. It may lack losses, with ``--logging-strategy no``.
        begun: from `LogCallback`.
        made: the last step.
        loss: the mean over the steps since ``begun``, which Trainer logs as ``train_loss``.
    """
    total, logged = 0.0, 0
    for entry in history:
        if "loss" in entry and entry["step"] <= begun:
            total += entry["loss"] * (entry["step"] - logged)
            logged = int(entry["step"])
    steps = logged + made - begun
    return (total + loss * (made - begun)) / steps if steps else loss


def logged_alignment(
    weight: float, history: Sequence[Mapping[str, float]], rows: Mapping[str, int]
) -> dict[str, Any] | None:
    """The alignment's weight, its value as it was logged last, and the rows that only it was trained on."""
    if not weight:
        return None
    logged = [entry[name] for name in (f"train_{ALIGNMENT}", ALIGNMENT) for entry in history if name in entry]
    value = round(logged[-1], 4) if logged else None
    return {"weight": weight, "value": value, "rows": dict(rows)}
