"""Greedy answers to a batch of prompts, on a transformers model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel


def greedy(
    model: PreTrainedModel,
    ids: Tensor,
    mask: Tensor,
    stops: Collection[int],
    max_tokens: int,
    first: AbstractContextManager[Any] | None = None,
) -> list[list[int]]:
    """The greedy answer to each prompt, with the token that ends it.

    Args:
        model: answers.
        ids, mask: from `pad_left`.
        stops: tokens that end an answer.
        max_tokens: most tokens of an answer.
        first: the context of the prompts' pass, such as `cc_train.model.activations.connected_at`.
    """
    with nullcontext() if first is None else first:
        output = forward(model, ids, mask, use_cache=True)
    generated: list[list[int]] = [[] for _ in ids]
    unfinished = set(range(len(ids)))
    while True:
        tokens = output.logits[:, -1].float().argmax(dim=-1)
        for index, token in enumerate(tokens.tolist()):
            if index in unfinished:
                generated[index].append(token)
                if token in stops or len(generated[index]) == max_tokens:
                    unfinished.discard(index)
        if not unfinished:
            return generated
        mask = torch.cat([mask, mask.new_ones(len(ids), 1)], dim=1)
        output = forward(model, tokens[:, None], mask, past_key_values=output.past_key_values, use_cache=True)


def forward(model: PreTrainedModel, ids: Tensor, mask: Tensor, **keywords: Any) -> Any:
    """A pass over the last tokens ``ids`` of prompts padded on the left, with the last one's logits only."""
    positions = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, -ids.shape[1] :]
    return model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, **keywords)


def pad_left(
    sequences: Sequence[Sequence[int] | np.ndarray], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask ``[B, N]``, int64, of sequences of any length."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, sequence in enumerate(sequences):
        ids[index, longest - len(sequence) :] = torch.as_tensor(sequence)
        mask[index, longest - len(sequence) :] = 1
    return ids.to(device), mask.to(device)


def answer_text(tokenizer: Any, generated: Sequence[int], stops: Collection[int]) -> tuple[str, str]:
    """An answer's text, and why it ended: ``stop`` or ``length``."""
    ended = generated[-1] in stops
    kept = generated[:-1] if ended else generated
    return str(tokenizer.decode(kept, skip_special_tokens=True)), "stop" if ended else "length"
