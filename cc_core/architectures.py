"""The model families that can be connected, and where each keeps its FFN contribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that a checkpoint can be described without torch
    from torch import nn

CC_PREFIX = "CC"

# The module of a decoder layer whose output the FFN block adds to the residual stream: the MLP, or the
# norm that stands between it and the residual. transformers and vLLM use the same attribute names. A new family
# is a row here, and one in the tests, which hold it against the reference.
FFN_OUTPUT_MODULE: dict[str, str] = {
    "Gemma2ForCausalLM": "post_feedforward_layernorm",
    "Gemma3ForCausalLM": "post_feedforward_layernorm",
    "LlamaForCausalLM": "mlp",
    "MistralForCausalLM": "mlp",
    "Phi3ForCausalLM": "mlp",
    "Qwen2ForCausalLM": "mlp",
    "Qwen3ForCausalLM": "mlp",
}


class UnsupportedArchitectureError(ValueError):
    """The model's architecture has no row in `FFN_OUTPUT_MODULE`."""

    def __init__(self, architecture: str) -> None:
        super().__init__(
            f"architecture {architecture!r} cannot be connected; supported: {', '.join(sorted(FFN_OUTPUT_MODULE))}"
        )


def base_architecture(architecture: str) -> str:
    """The plain name of ``architecture``, with or without the prefix; raises `UnsupportedArchitectureError`."""
    base = architecture.removeprefix(CC_PREFIX)
    if base not in FFN_OUTPUT_MODULE:
        raise UnsupportedArchitectureError(architecture)
    return base


def ffn_outputs(model: nn.Module, architecture: str) -> list[nn.Module]:
    """The L modules of a causal LM (transformers or vLLM) whose outputs are the FFN contributions."""
    attribute = FFN_OUTPUT_MODULE[base_architecture(architecture)]
    return [getattr(layer, attribute) for layer in model.model.layers]  # type: ignore[union-attr]


def ffns(model: nn.Module) -> list[nn.Module]:
    """The L feed-forward blocks themselves, which every family calls ``mlp``."""
    return [layer.mlp for layer in model.model.layers]  # type: ignore[union-attr]
