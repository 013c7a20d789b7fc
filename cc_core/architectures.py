"""The model families that can be connected, and where each keeps its FFN contribution."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that a checkpoint can be described without torch
    from torch import nn

CC_PREFIX = "CC"
MLP = "mlp"


@dataclass(frozen=True)
class Family:
    """Where a family's decoder layers add their FFN contribution to the residual stream.

    Modules are named as attributes of a decoder layer.

    Args:
        output: the module whose output the layer adds: the feed-forward block, or the norm that follows it.
        engine_output: vLLM's name for that module; None where it is the same.
        ffn: the feed-forward block in transformers, a mixture's experts and router included.
        multiplier: the field of ``config.json`` by which the layer multiplies that output before it adds it.
        embedding_multiplier: the field of ``config.json`` by which the model multiplies the embedding layer's output.
        reduced_late: whether, under tensor parallelism, the module's output in vLLM is one rank's part of a sum that
            the layer forms later.
    """

    output: str = MLP
    engine_output: str | None = None
    ffn: str = MLP
    multiplier: str | None = None
    embedding_multiplier: str | None = None
    reduced_late: bool = False

    def multiplier_in(self, config: Any) -> float:
        """The factor by which the layers multiply the contribution, in a model of this ``config``."""
        return float(getattr(config, self.multiplier)) if self.multiplier else 1.0

    def embedding_multiplier_in(self, config: Any) -> float:
        """The factor by which the model multiplies the embedding layer's output before layer 0."""
        return float(getattr(config, self.embedding_multiplier)) if self.embedding_multiplier else 1.0


_NORM_AFTER = Family("post_feedforward_layernorm")
_GRANITE: dict[str, Any] = {"multiplier": "residual_multiplier", "embedding_multiplier": "embedding_multiplier"}

#: By the base model's class. A new family needs a row here, and one in the tests, which compare it with the reference:
#: docs/how-to/family.md.
FAMILIES: dict[str, Family] = {
    "ApertusForCausalLM": Family(),
    "CohereForCausalLM": Family(reduced_late=True),
    "Cohere2ForCausalLM": Family(reduced_late=True),
    "Ernie4_5ForCausalLM": Family(),
    "Exaone4ForCausalLM": _NORM_AFTER,
    "GemmaForCausalLM": Family(),
    "Gemma2ForCausalLM": _NORM_AFTER,
    "Gemma3ForCausalLM": _NORM_AFTER,
    "Glm4ForCausalLM": Family("post_mlp_layernorm"),
    "GptOssForCausalLM": Family(),
    "GraniteForCausalLM": Family(**_GRANITE),
    "GraniteMoeForCausalLM": Family("block_sparse_moe", ffn="block_sparse_moe", **_GRANITE),
    "LlamaForCausalLM": Family(),
    "Ministral3ForCausalLM": Family(),
    "MistralForCausalLM": Family(),
    "MixtralForCausalLM": Family(engine_output="block_sparse_moe"),
    "NemotronForCausalLM": Family(),
    "Olmo2ForCausalLM": _NORM_AFTER,
    "Olmo3ForCausalLM": _NORM_AFTER,
    "OlmoeForCausalLM": Family(),
    "Phi3ForCausalLM": Family(),
    "Qwen2ForCausalLM": Family(),
    "Qwen2MoeForCausalLM": Family(),
    "Qwen3ForCausalLM": Family(),
    "Qwen3MoeForCausalLM": Family(),
    "SeedOssForCausalLM": Family(),
    "SmolLM3ForCausalLM": Family(),
    "StableLmForCausalLM": Family(),
}


#: Prefixes of the names of families whose layers keep a recurrent state.
RECURRENT = (
    *("Bamba", "FalconH1", "FalconMamba", "GraniteMoeHybrid", "Jamba", "KimiLinear", "Lfm2", "Mamba", "MiniMaxText"),
    *("NemotronH", "OlmoHybrid", "Plamo2", "Qwen3Next", "Qwen3_5", "RecurrentGemma", "Rwkv", "XLSTM", "Zamba"),
)
HOW_TO = "docs/how-to/family.md"


class UnsupportedArchitectureError(ValueError):
    """The model's architecture has no row in `FAMILIES`; the message says why, or how to add one."""

    def __init__(self, architecture: str) -> None:
        problem = f"architecture {architecture!r} cannot be connected"
        if architecture.removeprefix(CC_PREFIX).startswith(RECURRENT):
            super().__init__(
                f"{problem}: its layers keep a recurrent state, and the connection runs the prompt's last token twice; "
                "use a model whose layers all have attention"
            )
            return
        near = difflib.get_close_matches(architecture.removeprefix(CC_PREFIX), FAMILIES, n=1, cutoff=0.75)
        nearest = f"; the nearest supported one is {near[0]}" if near else ""
        super().__init__(f"{problem}{nearest}; supported: {', '.join(sorted(FAMILIES))}; to add one: {HOW_TO}")


def base_architecture(architecture: str) -> str:
    """The plain name of ``architecture``, with or without the prefix; raises `UnsupportedArchitectureError`."""
    base = architecture.removeprefix(CC_PREFIX)
    if base not in FAMILIES:
        raise UnsupportedArchitectureError(architecture)
    return base


def family_of(architecture: str) -> Family:
    """The family of ``architecture``, with or without the prefix; raises `UnsupportedArchitectureError`."""
    return FAMILIES[base_architecture(architecture)]


def ffn_outputs(model: nn.Module, attribute: str) -> list[nn.Module]:
    """The module called ``attribute`` in each of the L layers of a causal LM, of transformers or vLLM."""
    return [getattr(layer, attribute) for layer in model.model.layers]  # type: ignore[union-attr]
