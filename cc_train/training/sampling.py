"""The order of rows in training. Neighbours have similar lengths, so that a batch holds little padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices

from cc_train.data.encoding import Example


def cost(example: Example) -> int:
    """Tokens that a step computes for a row, its English prompt included."""
    return len(example.prompt) + len(example.answer) + len(example.english)


# Trainer counts epochs in fractions. The fractions of a whole epoch may add up to slightly less than 1.
_ROUNDING: Final = 1e-6


class EpochLengthSampler(LengthGroupedSampler):
    """transformers' order by length. It depends on the seed and the epoch alone, so a resumed run repeats it.

    Args:
        batch_size: how many neighbours should have similar lengths.
        lengths: one for each row.
        seed: the first epoch's.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: Any = get_length_grouped_indices  # which has no types
        return iter(order(self.lengths, self.batch_size, generator=generator))


class EpochCallback(TrainerCallback):
    """Tells the sampler its epoch, even when a run on several processes is resumed.

    To skip the rows that were seen, Trainer wraps the loader, and then reaches no sampler below the processes' shards
    (``Trainer._run_epoch``): the rest of the epoch would follow the order of the first epoch.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        sampler = kwargs["train_dataloader"].batch_sampler
        while (inner := getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)) is not None:
            sampler = inner
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(int((state.epoch or 0) + _ROUNDING))
        return control
