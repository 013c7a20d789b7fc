"""A run that trains nothing is an error, whatever the cause."""

from __future__ import annotations

from cc_train.training.trainer import ConnectionTrainer, TrainingError


def require_learning(trainer: ConnectionTrainer) -> None:
    """Raise `TrainingError` if no step of ``trainer`` changed a weight; the message says what to look at."""
    if trainer.learns:
        return
    steps, arguments = trainer.state.global_step, trainer.args
    if steps:
        raise TrainingError(
            f"no weight changed in {steps} steps, so nothing was trained: the learning rate or every gradient was 0; "
            "look at --learning-rate, --warmup-steps and --lr-scheduler-type"
        )
    rows = len(trainer.train_dataset)  # type: ignore[arg-type]
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    raise TrainingError(
        f"the run made no step, so nothing was trained: {rows} rows, and {batch} in a step; use a smaller "
        "--per-device-train-batch-size, or leave out --dataloader-drop-last"
    )
