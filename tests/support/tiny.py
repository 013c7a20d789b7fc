"""Tiny models of every supported family with random weights, on which exactness tests are fast."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
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
#: Of a model that also reads images.
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_GEMMA: dict[str, Any] = {
    "query_pre_attn_scalar": 32,
    "sliding_window": 16,
    "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
}

_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": HIDDEN,
}
_GRANITE: dict[str, Any] = {"residual_multiplier": 0.5, "embedding_multiplier": 3.0, "logits_scaling": 0.5}
_WINDOWS: dict[str, Any] = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
_YARN: dict[str, Any] = {
    **_ROPE,
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
}
#: vLLM keeps and computes the parameters of Apertus's activation in bfloat16, whatever the model's dtype. This value
#: and its softplus are moved by less than 2e-5 of their size.
_ALPHA = 0.25390625
_FIELDS: dict[str, dict[str, Any]] = {
    "ApertusForCausalLM": {"rope_parameters": _ROPE},
    # vLLM's windows of Cohere 2 hold one token more than those of transformers: no test's prompt may fill one.
    "Cohere2ForCausalLM": _WINDOWS | {"logit_scale": 0.5, "sliding_window": 512},
    "CohereForCausalLM": {"logit_scale": 0.5},
    "Exaone4ForCausalLM": _WINDOWS,
    "Gemma2ForCausalLM": _GEMMA,
    "Gemma3ForCausalLM": _GEMMA,
    "GptOssForCausalLM": _EXPERTS | _WINDOWS | {"rope_parameters": _YARN},
    "GraniteForCausalLM": _GRANITE,
    "GraniteMoeForCausalLM": _EXPERTS | _GRANITE,
    # Beyond its original length, transformers scales the queries and vLLM 0.32 does not: all prompts are shorter.
    "Ministral3ForCausalLM": {
        "rope_parameters": _ROPE | {"llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 512}
    },
    "MistralForCausalLM": {"sliding_window": None},
    "MixtralForCausalLM": _EXPERTS,
    "Olmo3ForCausalLM": _WINDOWS,
    "OlmoeForCausalLM": _EXPERTS,
    "Qwen2MoeForCausalLM": _EXPERTS | {"shared_expert_intermediate_size": HIDDEN},
    "Qwen3MoeForCausalLM": _EXPERTS,
    "SeedOssForCausalLM": {"attention_dropout": 0.0, "residual_dropout": 0.0},  # tests compare two passes
}
"""What a family needs beside the shape. A window is shorter than most of the tests' prompts."""


def config_of(architecture: str) -> PreTrainedConfig:
    """A tiny configuration of a supported family."""
    config: PreTrainedConfig = getattr(transformers, architecture).config_class(
        **deepcopy(_SHAPE | _FIELDS.get(architecture, {}))
    )
    return config


def tiny_model(architecture: str, seed: int = 0) -> PreTrainedModel:
    """Random weights, large enough that greedy choices are far apart."""
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(transformers, architecture)(config_of(architecture))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
            elif "act_fn.alpha" in name:
                parameter.fill_(_ALPHA)
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


def gemma3_with_vision(seed: int = 0) -> Gemma3ForConditionalGeneration:
    """The random Gemma 3 inside a model that also reads images."""
    text = tiny_gemma3(seed)
    config = Gemma3Config(text_config=text.config.to_dict(), vision_config=VISION, mm_tokens_per_image=4)
    whole = Gemma3ForConditionalGeneration(config)
    whole.model.language_model.load_state_dict(text.model.state_dict())
    return whole


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
