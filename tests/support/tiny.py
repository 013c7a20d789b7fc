"""Tiny models of every supported family with random weights, on which exactness tests are fast."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    Gemma2Config,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from cc_core.checkpoint import save_connection
from cc_core.connection import Connection

VOCABULARY = 128
LAYERS = 4
HIDDEN = 64

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GEMMA: dict[str, Any] = {
    "query_pre_attn_scalar": 32,
    "sliding_window": 16,
    "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
}

CONFIGS: dict[str, PreTrainedConfig] = {
    "Gemma2ForCausalLM": Gemma2Config(**_SHAPE, **_GEMMA),
    "Gemma3ForCausalLM": Gemma3TextConfig(**_SHAPE, **_GEMMA),
    "LlamaForCausalLM": LlamaConfig(**_SHAPE),
    "MistralForCausalLM": MistralConfig(**_SHAPE, sliding_window=None),
    "Phi3ForCausalLM": Phi3Config(**_SHAPE),
    "Qwen2ForCausalLM": Qwen2Config(**_SHAPE),
    "Qwen3ForCausalLM": Qwen3Config(**_SHAPE),
}
"""A tiny configuration of every supported family. The Gemmas have a window of 16 in all layers but the last."""


def tiny_model(architecture: str, seed: int = 0) -> PreTrainedModel:
    """Random weights, large enough that greedy choices are far apart."""
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(transformers, architecture)(deepcopy(CONFIGS[architecture]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
        if model.config.tie_word_embeddings:  # smaller, or every token repeats itself
            embeddings = model.get_input_embeddings()
            assert isinstance(embeddings, torch.nn.Embedding)
            embeddings.weight.mul_(0.2)
    model.float()  # type: ignore[no-untyped-call]
    model.eval()  # type: ignore[no-untyped-call]
    return model


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """A random Llama of 4 layers."""
    model = tiny_model("LlamaForCausalLM", seed)
    assert isinstance(model, LlamaForCausalLM)
    return model


def tiny_gemma3(seed: int = 0) -> Gemma3ForCausalLM:
    """A random Gemma 3 of 4 layers."""
    model = tiny_model("Gemma3ForCausalLM", seed)
    assert isinstance(model, Gemma3ForCausalLM)
    return model


def softcapped_gemma3() -> Gemma3ForCausalLM:
    """A random Gemma 3 whose logits are capped, as Gemma 2's are."""
    model = tiny_gemma3()
    model.config.final_logit_softcapping = 3.0
    return model


def random_connection(names: list[str], seed: int = 0, *, anchor_offset: int = -1) -> Connection:
    """A connection strong enough to change the tiny models' answers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> torch.Tensor:
        return torch.randn(rows, HIDDEN, generator=generator)

    transforms = {name: 3 * normal(HIDDEN) / HIDDEN**0.5 for name in names}
    return Connection(normal(LAYERS), transforms, anchor_offset=anchor_offset)


def save_checkpoint(directory: Path, model: PreTrainedModel, connection: Connection, languages: list[str]) -> Path:
    """Write a tiny checkpoint, without a tokenizer."""
    model.save_pretrained(directory)
    save_connection(directory, connection, languages)
    return directory
