"""Pass 2 of a frozen model: tokens before the anchor need no gradient.

Attention is causal, so nothing before the anchor depends on the connection. Those tokens run without a gradient and
leave keys and values. Only the anchor and the answer run with one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cc_train.data.batches import IGNORED, Batch
from cc_train.model.activations import connected_at
from cc_train.model.answer_head import AnswerLogits, answer_positions, head_only_at


def frozen_answer_logits(
    model: PreTrainedModel, batch: Batch, vector: Tensor, kept: list[Tensor] | None = None
) -> AnswerLogits:
    """The logits at the positions that predict the answers.

    Args:
        batch: prompts and answers.
        vector: added at the anchors, ``[B, H]``; the only input that gets a gradient.
        kept: as in `cc_train.model.answer_head.head_only_at`.
    """
    input_ids, anchors = batch.input_ids, batch.anchors
    lengths = batch.attention_mask.sum(dim=1)
    # All anchors stand in one column, so that a sliding window counts the tokens between two columns correctly.
    before = torch.arange(int(anchors.max()), device=anchors.device) - (anchors.max() - anchors)[:, None]
    after = torch.arange(int((lengths - anchors).max()), device=anchors.device) + anchors[:, None]
    is_before, is_after = before >= 0, after < lengths[:, None]
    before, after = before.clamp_min(0), after.clamp_max(input_ids.shape[1] - 1)
    cache = None
    if before.shape[1]:
        with torch.no_grad():
            cache = model.model(
                input_ids=input_ids.gather(1, before),
                attention_mask=is_before.long(),
                position_ids=before,
                use_cache=True,
            ).past_key_values
    labels = batch.labels.gather(1, after).masked_fill(~is_after, IGNORED)
    rows, columns = answer_positions(labels)
    with connected_at(model, torch.zeros_like(anchors), vector), head_only_at(model, rows, columns, kept):
        logits = model(
            input_ids=input_ids.gather(1, after),
            attention_mask=torch.cat([is_before, is_after], dim=1).long(),
            position_ids=after,
            past_key_values=cache,
            use_cache=cache is not None,
        ).logits
    return AnswerLogits(logits[0], labels[rows, columns + 1])
