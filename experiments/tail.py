"""Score many variants of a connection, and run the prompt only once.

Attention is causal, so the keys and values before the anchor are the same in every variant. Only the tail runs again:
the anchor (at offset −1) and the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from cc_train.data.batches import IGNORED, pad_right
from cc_train.data.encoding import Example
from cc_train.model.activations import anchor_positions, capture_at, connected_at
from cc_train.model.answer_head import head_only_at, output_embeddings


@dataclass(frozen=True)
class Tails:
    """B rows whose prompts have run up to their anchors.

    Args:
        examples: the rows.
        cache: keys and values ``[B, heads, P, head size]`` by layer, prompts padded on the left.
        mask: which of the P tokens are no padding, ``[B, P]``.
        ids: the anchor and the answer without its last token, ``[B, S]``.
        targets: the answer, ``[B, S]``, padded with `IGNORED`.
        source, english: ``a_l`` of the prompt itself and of the English prompt, ``[B, L, H]``.
        embedding: ``e``, ``[B, H]``.
    """

    examples: list[Example]
    cache: list[tuple[Tensor, Tensor]]
    mask: Tensor
    ids: Tensor
    targets: Tensor
    source: Tensor
    english: Tensor
    embedding: Tensor


@torch.no_grad()
def run_prompts(model: PreTrainedModel, examples: Sequence[Example], pad_id: int) -> Tails:
    """Run prompts and English prompts once."""
    flipped, mask = pad_right([e.prompt[-2::-1].copy() for e in examples], pad_id)
    prompts, mask = flipped.flip(1), mask.flip(1)
    cache = DynamicCache()
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    model.model(input_ids=prompts, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    ids, tail_mask = pad_right([np.append(e.prompt[-1:], e.answer[:-1]) for e in examples], pad_id)
    targets, _ = pad_right([e.answer for e in examples], pad_id)
    english, english_mask = pad_right([e.english if len(e.english) else e.prompt for e in examples], pad_id)
    with capture_at(model, anchor_positions(english_mask, -1)) as capture:
        model.model(input_ids=english, attention_mask=english_mask, use_cache=False)
    pairs: Any = [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr]
    targets = targets.masked_fill(~tail_mask.bool(), IGNORED)
    none = torch.empty(0)
    tails = Tails(list(examples), pairs, mask, ids, targets, none, capture.activations, none)
    with capture_at(model, torch.zeros(len(examples), dtype=torch.long)) as own:
        losses(model, tails, tokens=1)
    return replace(tails, source=own.activations, embedding=own.embedding)


def losses(model: PreTrainedModel, tails: Tails, vector: Tensor | None = None, tokens: int | None = None) -> Tensor:
    """Cross-entropy of the answers' first ``tokens`` (None: all), ``[B, S]``, nats; ``vector`` ``[B, H]`` is added."""
    width = tails.ids.shape[1] if tokens is None else min(tokens, tails.ids.shape[1])
    ids, targets = tails.ids[:, :width], tails.targets[:, :width]
    offsets = torch.arange(width)
    positions = tails.mask.sum(1, keepdim=True) + offsets
    mask = torch.cat([tails.mask, torch.ones_like(ids)], dim=1)
    anchors = torch.zeros(len(ids), dtype=torch.long)
    real = targets != IGNORED
    rows, columns = real.nonzero(as_tuple=True)
    with (
        nullcontext() if vector is None else connected_at(model, anchors, vector),
        head_only_at(model, rows, columns),
    ):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=DynamicCache(tails.cache),
            use_cache=True,
        )
    logits = output.logits[0].float()
    out = torch.zeros(targets.shape, dtype=torch.float32)
    return out.masked_scatter(real, F.cross_entropy(logits, targets[real], reduction="none"))


def batches(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """Batches of rows with similar prompt lengths."""
    ordered = sorted(examples, key=lambda e: (len(e.prompt), len(e.answer), e.row.line))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def generate(
    model: PreTrainedModel, tails: Tails, vector: Tensor | None, end: Sequence[int], max_tokens: int
) -> list[list[int]]:
    """Greedy answers without the end token; ``vector`` ``[B, H]`` is added at the anchor."""
    cache, mask, ids = DynamicCache(tails.cache), tails.mask, tails.ids[:, :1]
    rows = torch.arange(len(ids))
    answers: list[list[int]] = [[] for _ in rows]
    for step in range(max_tokens):
        positions = mask.sum(1, keepdim=True)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        anchors = torch.zeros(len(ids), dtype=torch.long)
        with nullcontext() if vector is None or step else connected_at(model, anchors, vector):
            hidden = model.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state
        ids = output_embeddings(model)(hidden[:, -1:]).argmax(-1)
        going = ids[:, 0] != end[0]
        rows, ids, mask = rows[going], ids[going], mask[going]
        if not len(rows):
            break
        for row, token in zip(rows.tolist(), ids[:, 0].tolist(), strict=True):
            answers[row].append(token)
        if not going.all():
            cache.batch_select_indices(going.nonzero()[:, 0])
    return answers
