"""transformers' `TrainingArguments` with this project's defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from transformers import SchedulerType, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from cc_train.config.tuning import LEARNING_RATES


@dataclass
class RunArguments(TrainingArguments):
    """transformers' own options, each under its own name.

    ``overwrite``, ``save_dtype``, ``padding_free`` and those of early stopping are this project's.
    """

    _argument_group_name = "output and training (transformers' TrainingArguments)"

    output_dir: str | None = field(
        default=None,
        metadata={
            "help": "Directory of the finished checkpoint; appears only when it is complete.",
            "aliases": ["--output"],
        },
    )
    overwrite: bool = field(default=False, metadata={"help": "Replace what --output holds."})
    save_dtype: Literal["bfloat16", "float16", "float32"] = field(
        default="bfloat16",
        metadata={"help": "Type of the saved weights, which is what the server loads; the matrices are fitted on it."},
    )
    learning_rate: float | None = field(  # type: ignore[assignment]
        default=None,
        metadata={
            "help": "The initial learning rate; if not given, by --tuning: "
            + ", ".join(f"{rate:g} for {tuning}" for tuning, rate in LEARNING_RATES.items())
            + "."
        },
    )
    lr_scheduler_type: SchedulerType | str = field(
        default="cosine", metadata={"help": "The learning rate's course after the warm-up."}
    )
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up steps, or their share if below 1."})
    logging_steps: float = field(
        default=10, metadata={"help": "Steps between two log lines, or their share if below 1."}
    )
    save_strategy: SaveStrategy | str = field(
        default="no",
        metadata={
            "help": "When Trainer saves checkpoints of its own, to resume from: no, steps, epoch or best. "
            "A run that finishes removes them; their optimizer states are pickles, which no checkpoint to serve holds."
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={
            "help": "Stop after so many evaluations without a better loss, or --metric-for-best-model, and keep the "
            "best; needs --eval-data."
        },
    )
    early_stopping_threshold: float = field(
        default=0.0, metadata={"help": "By how much an evaluation has to be better than the best one to count."}
    )
    padding_free: bool = field(
        default=False,
        metadata={
            "help": "Compute no padding: both passes run the rows of a batch one after another, each with its own "
            "positions. Losses stay the same. All attention but flash_attention_2 then compares all tokens of a batch."
        },
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False,
        metadata={"help": "Whether parallel training looks for parameters without a gradient; all have one."},
    )

    def __post_init__(self) -> None:
        # Set here, because Trainer refuses --bf16 on a machine without an accelerator unless it is told to use the CPU.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        self.remove_unused_columns = False  # the collator needs columns that are no argument of forward
        self.prediction_loss_only = True  # logits exist at the answers' positions only
        if self.early_stopping_patience is not None:
            self.restore_callback_states_from_checkpoint = True
            if not self.load_best_model_at_end:
                self.load_best_model_at_end = True
                self.save_strategy = self.eval_strategy
                self.save_steps = self.logging_steps if self.eval_steps is None else self.eval_steps
        super().__post_init__()  # type: ignore[no-untyped-call]
        # DataParallel's replicas would share the hooks that read and add activations; launchers start a process a GPU.
        if self.n_gpu > 1:
            self._n_gpu = 1

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """transformers' own, but at least one step is no warm-up: the first warm-up step has a learning rate of 0."""
        steps: int = super().get_warmup_steps(num_training_steps)
        return max(0, min(steps, num_training_steps - 1))
