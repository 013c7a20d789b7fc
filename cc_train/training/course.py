"""What a run needs to go on from a checkpoint: the same model, the same rows in each step, and readable shards.

The order of rows depends on their number, the seed, the strategy and the rows of a step. It does not depend on how a
step's rows are divided among processes and micro-batches, so a run may go on with other numbers of both.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transformers import Trainer

from cc_core.names import WEIGHTS
from cc_core.standalone import weights_digest
from cc_core.terminal.text import counted
from cc_train.config.parser import UsageError

_FILE = "cc_course.json"
_SHARDS = {"none": "the whole model in each process", "fsdp": "the model spread by FSDP", "zero": "DeepSpeed"}


@dataclass(frozen=True)
class Course:
    """What the order of rows and the kind of a checkpoint depend on.

    Args:
        rows: to train on.
        rows_per_step: of all processes and micro-batches.
        steps_per_epoch: fewer where incomplete batches are dropped.
        seed, strategy: of the order.
        processes: how many trained.
        shards: ``none`` if each process holds the whole model, ``fsdp`` or ``zero``.
        align: λ of the alignment; 0 for none.
        base: digest of the weights that the run began with; None if they are not in safetensors files, and of
            checkpoints from before it was noted.
    """

    rows: int
    rows_per_step: int
    steps_per_epoch: int
    seed: int | None
    strategy: str
    processes: int
    shards: str
    align: float = 0.0
    base: str | None = None

    def save(self, checkpoint: Path) -> None:
        """Write it into Trainer's own checkpoint."""
        (checkpoint / _FILE).write_text(json.dumps(asdict(self)) + "\n", "utf-8")


def digest_of_base(directory: Path) -> str | None:
    """Digest of the weights in ``directory``, for `Course`; None if they are not in safetensors files."""
    return weights_digest(directory) if any(directory.glob(WEIGHTS)) else None


def course_of(trainer: Trainer) -> Course:
    """The course of ``trainer``'s run."""
    arguments = trainer.args
    rows, each, processes = len(trainer.train_dataset), arguments.train_batch_size, arguments.world_size  # type: ignore[arg-type]
    whole = math.floor if arguments.dataloader_drop_last else math.ceil
    batches = whole(whole(rows / each) / processes)
    return Course(
        rows,
        each * processes * arguments.gradient_accumulation_steps,
        max(1, math.ceil(batches / arguments.gradient_accumulation_steps)),
        arguments.data_seed,
        str(arguments.train_sampling_strategy),
        processes,
        "fsdp" if trainer.is_fsdp_enabled else "zero" if trainer.is_deepspeed_enabled else "none",
        float(getattr(trainer.model, "align", 0.0)),
    )


def resumable_course(trainer: Trainer) -> Course:
    """The course with the digest of the base, which takes a reading of all its weights."""
    return replace(course_of(trainer), base=getattr(trainer, "base_digest", None))


def saved_course(checkpoint: Path) -> Course | None:
    """The course that `Course.save` wrote into ``checkpoint``; None if there is none."""
    try:
        return Course(**json.loads((checkpoint / _FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def require_course(trainer: Trainer, checkpoint: Path) -> None:
    """Raise `UsageError` if ``trainer`` goes on from ``checkpoint`` with another model or rows, or cannot read it."""
    saved, now = saved_course(checkpoint), resumable_course(trainer)
    if saved is not None and (problem := _difference(saved, now, trainer)):
        raise UsageError(f"--resume-from-checkpoint {checkpoint}: {problem}")


def _difference(saved: Course, now: Course, trainer: Trainer) -> str | None:
    """Why ``now`` cannot go on where ``saved`` stopped, and what to do; None if it can."""
    again = f"resume on {_processes(saved.processes)} with the same launcher"
    if saved.shards != now.shards:
        return (
            f"was saved with {_SHARDS[saved.shards]}, and this run has {_SHARDS[now.shards]}; "
            "resume with the launcher's configuration that it began with"
        )
    if saved.shards == "zero" and saved.processes != now.processes:
        return f"DeepSpeed reads its shards only on as many processes as wrote them; {again}, not on {now.processes}"
    if None not in (saved.base, now.base) and saved.base != now.base:  # only what is trained is in the checkpoint
        return "was trained from a model with other weights; resume with the --model that the run began with"
    if saved.align != now.align:
        was = f"--align {saved.align:g}" if saved.align else "no --align"
        return f"was saved with {was}, and this run has --align {now.align:g}; resume with {was}"
    if saved.rows != now.rows:
        trained = counted(saved.rows, "row was", "rows were")
        return f"{trained} trained on, and this run has {now.rows}; resume with the same --data"
    if saved.rows_per_step != now.rows_per_step:
        had = counted(saved.rows_per_step, "row")
        return f"a step had {had}, and has {now.rows_per_step} now; {_same_step(saved, now, trainer)}"
    if saved.steps_per_epoch != now.steps_per_epoch:
        return f"an epoch had {counted(saved.steps_per_epoch, 'step')}, and has {now.steps_per_epoch} now; {again}"
    if (saved.seed, saved.strategy) != (now.seed, now.strategy):
        return (
            f"the order of rows is another; resume with --data-seed {saved.seed} "
            f"--train-sampling-strategy {saved.strategy}"
        )
    return None


def _same_step(saved: Course, now: Course, trainer: Trainer) -> str:
    """The options that make a step of as many rows as before."""
    at_once = now.rows_per_step // trainer.args.gradient_accumulation_steps
    if saved.rows_per_step % at_once == 0:
        return f"pass --gradient-accumulation-steps {saved.rows_per_step // at_once}"
    if saved.rows_per_step % now.processes == 0:
        each = saved.rows_per_step // now.processes
        return f"pass --per-device-train-batch-size {each} --gradient-accumulation-steps 1"
    return f"on {_processes(now.processes)} no step has so many: resume on {_processes(saved.processes)}"


def _processes(number: int) -> str:
    return counted(number, "process", "processes")
