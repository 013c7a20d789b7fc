"""Quantising as llm-compressor does without data, by the library that it writes checkpoints with; and a reference."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config, preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from cc_core.checkpoint import load_connection
from cc_core.files import json_bytes, read_json
from cc_core.names import CONFIG_FILE, QUANTIZATION
from cc_train.model.files import load_model
from cc_train.model.reference import Reference


def quantize(
    checkpoint: Path,
    target: Path,
    scheme: str = "W8A8",
    group_size: int | None = None,
    unseen: Iterable[str] = (),
) -> Path:
    """Write a quantised copy: weights rounded to the nearest, activations (``A8``) when they are known.

    Like every tool, it reads the checkpoint as a plain model, and leaves the connection's file behind. It does not see
    experts and routers, which are no linear layers, and so does not say that it left them as they are.

    Args:
        checkpoint: to read.
        target: to write.
        scheme: compressed-tensors' name.
        group_size: of weights with a common scale.
        unseen: patterns of those modules, to be written down as left out.
    """
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    layers = preset_name_to_scheme(scheme, ["Linear"])
    if group_size is not None:
        layers.weights.group_size = group_size
    config = QuantizationConfig(config_groups={"group_0": layers}, ignore=["lm_head"])
    apply_quantization_config(model, config)
    for module in model.modules():
        if not hasattr(module, "quantization_scheme"):
            continue
        settings = module.quantization_scheme.weights
        groups = module.weight.detach().unflatten(-1, (-1, settings.group_size or module.weight.shape[-1]))
        scale, zero_point = calculate_qparams(groups.amin(-1), groups.amax(-1), settings)
        module.weight_scale.data.copy_(scale)
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data.copy_(zero_point)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(str(target))
    config = read_json(target / CONFIG_FILE)
    config[QUANTIZATION]["ignore"] += unseen
    (target / CONFIG_FILE).write_bytes(json_bytes(config))
    return target


CPU = Path("/proc/cpuinfo").read_text("utf-8")
SATURATES = "vnni" not in CPU
"""Without VNNI, oneDNN adds each two products of 8 bits in 16, and cuts off what does not fit."""


class Int8Linear(nn.Module):
    """A linear layer as vLLM has it computed on this CPU: each token's activations are rounded, too.

    Sums of products of integers are exact in fp32 while they are below 2^24.

    Args:
        weight: ``[out, in]``, int8.
        scale: ``[out, 1]``.
    """

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.scale = nn.Parameter(scale.float().flatten(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        # transformers' own layers divide by 127.5, and round most values otherwise.
        step = x.abs().amax(-1, keepdim=True) / 127
        rounded = (x / step).round().clamp(-128, 127)
        return self._product(rounded) * step * self.scale

    def _product(self, rounded: Tensor) -> Tensor:
        if not SATURATES:
            return rounded @ self.weight.T
        products = (rounded + 128).unsqueeze(-2) * self.weight
        pairs = products.unflatten(-1, (-1, 2)).sum(-1).clamp(-(1 << 15), (1 << 15) - 1)
        return pairs.sum(-1) - 128 * self.weight.sum(-1)


def int8_reference(checkpoint: Path, base: Path) -> Reference:
    """Two passes on transformers, with the linear layers of a W8A8 checkpoint computed as vLLM does.

    The other weights are those of ``base``, the checkpoint before: transformers cannot read experts beside int8.
    """
    model = load_model(base, torch.float32, "eager")
    stored = load_file(checkpoint / "model.safetensors")
    for name, _ in list(model.named_modules()):
        if f"{name}.weight_scale" in stored:
            layer = Int8Linear(stored[f"{name}.weight"], stored[f"{name}.weight_scale"])
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer)
    return Reference(model, load_connection(checkpoint)[0])
