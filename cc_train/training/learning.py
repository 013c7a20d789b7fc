"""A run that trains nothing is an error, whatever the cause."""

from __future__ import annotations

from cc_core.terminal.text import counted
from cc_train.training.trained_weights import TrainingError
from cc_train.training.trainer import ConnectionTrainer


def require_learning(trainer: ConnectionTrainer) -> None:
    """Raise `TrainingError` if no step of ``trainer`` changed a weight; the message says what to look at."""
    if trainer.learns:
        return
    if steps := trainer.state.global_step:
        raise TrainingError(
            f"no weight changed in {counted(steps, 'step')}, so nothing was trained: the learning rate or every "
            "gradient was 0; look at --learning-rate, --warmup-steps and --lr-scheduler-type"
        )
    raise TrainingError(_no_step(trainer))


def require_batches(trainer: ConnectionTrainer) -> None:
    """Raise `TrainingError` if the rows do not make one batch for each process and incomplete ones are dropped."""
    arguments = trainer.args
    fewest = arguments.train_batch_size * arguments.world_size if arguments.dataloader_drop_last else 1
    if len(trainer.train_dataset) < fewest:  # type: ignore[arg-type]
        raise TrainingError(_no_step(trainer))


def _no_step(trainer: ConnectionTrainer) -> str:
    arguments = trainer.args
    rows = len(trainer.train_dataset)  # type: ignore[arg-type]
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    return (
        f"the run can make no step, so nothing would be trained: {counted(rows, 'row')}, and {batch} in a step; use a "
        "smaller --per-device-train-batch-size, or leave out --dataloader-drop-last"
    )
