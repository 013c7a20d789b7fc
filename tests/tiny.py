"""A documented tiny model: random Llama or Gemma 3 weights that make exactness tests fast."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from cc_train.connection import Connection

VOCABULARY = 128
LAYERS = 4
HIDDEN = 64

_SHAPE = {
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


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """A random Llama of 4 layers, large enough weights that greedy choices are far apart."""
    return _random(LlamaForCausalLM, LlamaConfig(**_SHAPE), seed)


def tiny_gemma3(seed: int = 0) -> Gemma3ForCausalLM:
    """A random Gemma 3 of 4 layers, the last of them global, the others with a sliding window of 16."""
    config = Gemma3TextConfig(
        **_SHAPE,
        query_pre_attn_scalar=32,
        sliding_window=16,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
    )
    model = _random(Gemma3ForCausalLM, config, seed)
    with torch.no_grad():  # tied to the output: smaller, or every token repeats itself
        model.model.embed_tokens.weight.mul_(0.2)
    return model


def random_connection(names: list[str], seed: int = 0, *, anchor_offset: int = -1) -> Connection:
    """A connection strong enough to change the tiny models' answers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> torch.Tensor:
        return torch.randn(rows, HIDDEN, generator=generator)

    transforms = {name: 3 * normal(HIDDEN) / HIDDEN**0.5 for name in names}
    return Connection(normal(LAYERS), transforms, anchor_offset=anchor_offset)


def save_checkpoint(directory: Path, model: PreTrainedModel, connection: Connection, languages: list[str]) -> Path:
    """Write a tiny deployable checkpoint without a tokenizer."""
    from cc_train.checkpoint import save_connection

    model.save_pretrained(directory)
    save_connection(directory, connection, languages)
    return directory


def _random(model_class: type, config: object, seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
    return model.float().eval()
