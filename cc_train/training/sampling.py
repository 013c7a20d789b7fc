"""The order of rows in which neighbours are of similar length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices

from cc_train.data.encoding import Example


def cost(example: Example) -> int:
    """Tokens that a step computes for a row: those of its English prompt too."""
    return len(example.prompt) + len(example.answer) + len(example.english)


class EpochLengthSampler(LengthGroupedSampler):
    """transformers' order by length, drawn from the seed and the epoch alone: a resumed run meets the same one.

    Args:
        batch_size: rows that should be alike.
        lengths: of all rows.
        seed: of the first epoch.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
