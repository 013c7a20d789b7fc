"""Encoded rows in batches, as Trainer reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cc_core.connection import ANCHOR_OFFSET
from cc_train.data.encoding import Example

IGNORED = -100  # the label that cross-entropy skips


class PairDataset(Dataset[dict[str, Any]]):
    """Examples as Trainer reads them; ``row`` is an example's index, so that an error can name it."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        return {
            "input_ids": np.concatenate([example.prompt, example.answer]),  # Trainer groups by its length
            "prompt_length": len(example.prompt),
            "english": example.english,
            "connected": example.connected,
            "row": index,
        }


@dataclass(frozen=True)
class Batch:
    """What the two passes read of B rows, padded on the right.

    Args:
        input_ids, attention_mask, labels: prompt and answer, ``[B, N]``; `IGNORED` is the prompt's label.
        english_input_ids, english_attention_mask: the English prompts, ``[B, M]``.
        anchors: the position of each row's anchor, ``[B]``.
        connected: which rows are connected, ``[B]`` bool.
        english_activations: ``a_l`` of each row, ``[B, L, H]``, if pass 1 has run already.
        alignment_targets: ``a⁰_l`` of each row's English prompt, ``[B, L, H]``; None for no alignment.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    english_input_ids: Tensor
    english_attention_mask: Tensor
    anchors: Tensor
    connected: Tensor
    english_activations: Tensor | None = None
    alignment_targets: Tensor | None = None

    @cached_property
    def connected_rows(self) -> Tensor:
        """Indices of the connected rows, ``[C]``."""
        return self.connected.nonzero().squeeze(1)


@dataclass(frozen=True)
class PairCollator:
    """Batches items of `PairDataset`, padded on the right.

    Args:
        pad_id: fills what the attention mask excludes.
        anchor_offset: the anchor's position, counted from the prompt's end.

    Returns:
        The fields of a `Batch` that have no default, and ``row`` [B]: the index of each item.
    """

    pad_id: int
    anchor_offset: int = ANCHOR_OFFSET

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        ids, mask = pad_right([item["input_ids"] for item in items], self.pad_id)
        english, english_mask = pad_right([item["english"] for item in items], self.pad_id)
        lengths = torch.tensor([item["prompt_length"] for item in items])
        is_answer = (torch.arange(ids.shape[1]) >= lengths[:, None]) & mask.bool()
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": ids.masked_fill(~is_answer, IGNORED),
            "english_input_ids": english,
            "english_attention_mask": english_mask,
            "anchors": lengths + self.anchor_offset,
            "connected": torch.tensor([item["connected"] for item in items]),
            "row": torch.tensor([item["row"] for item in items]),
        }


def pad_right(sequences: Sequence[np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask ``[B, N]``, int64, of sequences of any length; N is at least 1."""
    longest = max(1, *(len(s) for s in sequences))
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.as_tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids, mask
