"""transformers' `TrainingArguments` with this project's defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from transformers import SchedulerType, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from cc_train.config.parser import check
from cc_train.config.tuning import LEARNING_RATES

# numpy's seeds have 32 bits, and a resumed run adds the number of its step to the seed.
_MOST_SEED: Final = (1 << 31) - 1
# Below these, transformers' own options have no meaning. None stands for none given.
_LEAST: Final = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "adam_epsilon": 0,
    "max_grad_norm": 0,
    "neftune_noise_alpha": 0,
    "logging_steps": 0,
    "eval_steps": 0,
    "eval_delay": 0,
    "save_total_limit": 1,
    "early_stopping_patience": 1,
    "early_stopping_threshold": 0,
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": 1,
    "ddp_bucket_cap_mb": 1,
    "ddp_timeout": 1,
}


def seed_rule(option: str, seed: int) -> tuple[str, bool, str]:
    """The rule of an option that is a seed, for `check`."""
    return option, not 0 <= seed <= _MOST_SEED, f"must be from 0 to {_MOST_SEED}"


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
        check(self._bounds())
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

    def _bounds(self) -> Iterator[tuple[str, bool, str]]:
        """What transformers would take, and ignore or stumble over once the model is loaded and rows are read."""
        yield seed_rule("--seed", self.seed)
        yield seed_rule("--data-seed", self.data_seed or 0)
        yield (
            "--max-steps",
            self.max_steps == 0 or self.max_steps < -1,
            "must be at least 1, or -1 for --num-train-epochs",
        )
        for name, least in _LEAST.items():
            value = getattr(self, name)
            yield f"--{name.replace('_', '-')}", value is not None and value < least, f"must be at least {least}"
        for name in ("adam_beta1", "adam_beta2"):
            yield f"--{name.replace('_', '-')}", not 0 <= getattr(self, name) < 1, "must be at least 0 and below 1"
        yield "--label-smoothing-factor", not 0 <= self.label_smoothing_factor <= 1, "must be from 0 to 1"
        yield "--save-steps", not self.save_steps > 0, "must be above 0"

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """transformers' own, but at least one step is no warm-up: the first warm-up step has a learning rate of 0."""
        steps: int = super().get_warmup_steps(num_training_steps)
        return max(0, min(steps, num_training_steps - 1))
