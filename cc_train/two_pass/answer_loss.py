"""The loss of the answers. Their logits need not all be in memory at once: they are large if the vocabulary is."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from cc_core.architectures import FAMILIES
from cc_train.model.activations import architecture_of
from cc_train.model.answer_head import AnswerLogits, answer_positions, output_embeddings

# Bytes of fp32 logits that a chunk holds, where no size is given.
_CHUNK_BYTES = 256 << 20


def chunk_size(model: PreTrainedModel, tokens: int | None, labels: Tensor) -> int | None:
    """How many answer tokens of a batch have their logits in memory at once; None for all.

    Args:
        model: the language model.
        tokens: the value of ``--loss-chunk``: 0 for all, None for as many as take `_CHUNK_BYTES`.
        labels: the batch's, ``[B, N]``.
    """
    head = output_embeddings(model)
    known = architecture_of(model) in FAMILIES  # other families may scale their logits in another way
    # ZeRO-3 no longer holds the whole weight when a chunk is computed again. FSDP gathers the weight for each chunk,
    # and processes have different numbers of chunks: they would wait for one another for ever.
    sharded = hasattr(head.weight, "ds_id") or isinstance(head, FSDPModule)
    if tokens == 0 or not known or sharded:
        return None
    chunk = tokens or max(1, _CHUNK_BYTES // (4 * int(model.config.vocab_size)))
    return chunk if len(answer_positions(labels)[0]) > chunk else None


def summed_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy summed over answer tokens, nats, fp32, from ``logits`` ``[A, V]`` and ``targets`` ``[A]``."""
    return F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing, reduction="sum")


def cross_entropy_by_row(answers: AnswerLogits, labels: Tensor) -> Tensor:
    """Cross-entropy summed over each row's answer tokens, ``[B]``, nats, fp32; 0 for a row without an answer.

    Args:
        answers: of a batch that is padded.
        labels: the batch's, ``[B, N]``.
    """
    each = F.cross_entropy(answers.logits.float(), answers.targets, reduction="none")
    rows, _ = answer_positions(labels)
    return each.new_zeros(len(labels)).index_add_(0, rows, each)


def chunked_cross_entropy(
    model: PreTrainedModel, states: Tensor, targets: Tensor, chunk: int, label_smoothing: float
) -> Tensor:
    """`summed_cross_entropy` from the head's input ``states`` ``[A, H]``, with one chunk's logits in memory at a time.

    They are computed again for the chunk's gradient.
    """
    head = output_embeddings(model)
    cap = getattr(model.config, "final_logit_softcapping", None)
    # Cohere multiplies its logits, and Granite divides them.
    scale = getattr(model.config, "logit_scale", 1.0) / getattr(model.config, "logits_scaling", 1.0)

    def part(states: Tensor, targets: Tensor) -> Tensor:
        logits = scale * head(states)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        return summed_cross_entropy(logits, targets, label_smoothing)

    parts = zip(torch.split(states, chunk), torch.split(targets, chunk), strict=True)
    losses: list[Any] = [checkpoint(part, *given, use_reentrant=False) for given in parts]
    return torch.stack(losses).sum()
