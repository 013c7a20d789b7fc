"""Reading a transformers model's FFN contributions at the anchor, and adding the connection's vector there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cc_core.architectures import CC_PREFIX, Family, family_of, ffn_outputs
from cc_core.connection import connect
from cc_core.terminal.text import counted

#: Rows and columns of tokens in a pass, ``[B]`` each.
Places = tuple[Tensor, Tensor]


@dataclass
class Capture:
    """``a_l`` and ``e`` at the anchors of one forward pass, fp32."""

    by_layer: list[Tensor] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)

    @property
    def activations(self) -> Tensor:
        """``a_l``, ``[B, L, H]``."""
        return torch.stack(self.by_layer, dim=1)

    @property
    def embedding(self) -> Tensor:
        """``e``, ``[B, H]``."""
        return self.embeddings[0]


def architecture_of(model: PreTrainedModel) -> str:
    """The model's base architecture name, read from its configuration or its class."""
    return str((getattr(model.config, "architectures", None) or [type(model).__name__])[0]).removeprefix(CC_PREFIX)


def family_in(model: PreTrainedModel) -> Family:
    """The model's family; raises `cc_core.architectures.UnsupportedArchitectureError`."""
    return family_of(architecture_of(model))


def anchor_positions(attention_mask: Tensor, anchor_offset: int) -> Tensor:
    """The anchor's index in each row, ``[B]``, of prompts padded on either side, ``[B, N]``.

    Raises:
        ValueError: a prompt is too short to hold the anchor.
    """
    shortest = int(attention_mask.sum(dim=1).min())
    if shortest < -anchor_offset:
        raise ValueError(f"a prompt of {counted(shortest, 'token')} has no anchor at offset {anchor_offset}")
    indices = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    last = (attention_mask.long() * indices).amax(dim=1)
    return last + 1 + anchor_offset


@contextmanager
def capture_at(model: PreTrainedModel, positions: Tensor | Places, *, alone: bool = True) -> Iterator[Capture]:
    """Record ``a_l`` and ``e`` at ``positions`` in the one forward pass made inside.

    Args:
        model: makes the pass.
        positions: the anchors: one in each row, ``[B]``, or their rows ``[B]`` and columns ``[B]``.
        alone: whether the pass is made for the capture only. The last layer's FFN then runs at the anchors only, so
            that what the pass returns is of no use.
    """
    capture = Capture()
    places = _places(positions)

    def anchors_only(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][places].reshape(len(args[0]), -1, args[0].shape[-1]),)

    with ExitStack() as stack:

        def record(into: list[Tensor], module: nn.Module, multiplier: float, *, only: bool = False) -> None:
            def hook(
                _module: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]
            ) -> Tensor | tuple[Tensor, ...]:
                states = _states(output)
                into.append(multiplier * (states.flatten(0, 1) if only else states[places]).float())
                # The model adds this to all tokens of a row. One of them is enough, since nothing reads the sum.
                return _with_states(output, states[:, :1]) if only else output

            stack.callback(module.register_forward_hook(hook).remove)

        family = family_in(model)
        multiplier = family.multiplier_in(model.config)
        record(capture.embeddings, model.get_input_embeddings(), family.embedding_multiplier_in(model.config))
        *before, last = ffn_outputs(model, family.output)
        for module in before:
            record(capture.by_layer, module, multiplier)
        if alone:
            stack.callback(ffn_outputs(model, family.ffn)[-1].register_forward_pre_hook(anchors_only).remove)
        record(capture.by_layer, last, multiplier, only=alone)
        yield capture


@contextmanager
def connected_at(model: PreTrainedModel, positions: Tensor | Places, vector: Tensor) -> Iterator[None]:
    """Add ``vector`` ``[B, H]`` to layer 0's FFN contribution in the pass made inside.

    The ``positions`` are as in `capture_at`.
    """
    places = _places(positions)
    family = family_in(model)
    multiplier = family.multiplier_in(model.config)

    def hook(_module: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        states = _states(output)
        states = states.index_put(places, connect(states[places], vector / multiplier))
        return _with_states(output, states)

    handle = ffn_outputs(model, family.output)[0].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _places(positions: Tensor | Places) -> Places:
    """Rows and columns, ``[B]`` each."""
    if isinstance(positions, tuple):
        return positions
    return torch.arange(len(positions), device=positions.device), positions


def _states(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """What a module adds to the residual stream: some mixtures of experts also return their router's scores."""
    return output[0] if isinstance(output, tuple) else output


def _with_states(output: Tensor | tuple[Tensor, ...], states: Tensor) -> Tensor | tuple[Tensor, ...]:
    """``output`` with other ``states``."""
    return (states, *output[1:]) if isinstance(output, tuple) else states
