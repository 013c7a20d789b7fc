"""Two-pass generation on transformers: how to serve CC-Tuning without an engine, and the baseline to beat."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from cc_train.model.activations import anchor_positions, connected_at
from cc_train.model.reference import Reference


@torch.inference_mode()
def two_pass_seconds(reference: Reference, prompts: Sequence[Sequence[int]], name: str, max_tokens: int) -> float:
    """Seconds to answer ``prompts`` greedily in one batch. All prompts must have the same length."""
    start = time.perf_counter()
    input_ids = torch.tensor([list(prompt) for prompt in prompts], device=reference.model.device)
    mask = torch.ones_like(input_ids)
    capture = reference.capture(input_ids, mask)
    decision = reference.connection.decide(name, capture.activations, capture.embedding)
    positions = anchor_positions(mask, reference.connection.anchor_offset)
    with connected_at(reference.model, positions, decision.vector):
        output = reference.model(input_ids=input_ids, attention_mask=mask, use_cache=True, logits_to_keep=1)
    for _ in range(max_tokens - 1):
        following = output.logits[:, -1:].argmax(dim=-1)
        output = reference.model(input_ids=following, past_key_values=output.past_key_values, use_cache=True)
    output.logits.cpu()  # waits for the device
    return time.perf_counter() - start
