"""The custom operators inside the model's graph: tensors in, tensors written, no data-dependent shapes.

Buffers are as long as there are slots, at fixed addresses. On GPUs every entry is processed, the idle ones
without effect, so that a captured CUDA graph replays for any step. On CPUs, where nothing is captured,
``counts`` says how many entries are in use.
"""

from __future__ import annotations

import torch
from torch import Tensor
from vllm.utils.torch_utils import direct_register_custom_op

from cc_train.connection import connect


def cc_capture(ffn_output: Tensor, activations: Tensor, counts: Tensor, rows: Tensor, slots: Tensor) -> None:
    """Write ``ffn_output[rows]`` to ``activations[slots]``.

    Args:
        ffn_output: a layer's FFN contribution, ``[num_tokens, H]``.
        activations: that layer's slots, ``[num_slots + 1, H]``, fp32; the last one takes the idle entries.
        counts: captures and injections in use, ``[2]``.
        rows: ``[num_slots]``, 0 where idle.
        slots: ``[num_slots]``, ``num_slots`` where idle.
    """
    if not ffn_output.is_cuda:
        used = counts.tolist()[0]
        if not used:
            return
        rows, slots = rows[:used], slots[:used]
    activations.index_copy_(0, slots, ffn_output.index_select(0, rows).float())


def cc_inject(ffn_output: Tensor, counts: Tensor, rows: Tensor, vectors: Tensor) -> None:
    """Add the connections' ``vectors`` to ``ffn_output[rows]``, in place.

    Args:
        ffn_output: layer 0's FFN contribution, ``[num_tokens, H]``.
        counts: captures and injections in use, ``[2]``.
        rows: ``[num_slots]``, distinct where in use; idle entries repeat a row in use, or 0 where none is.
        vectors: ``[num_slots, H]``, fp32; idle entries repeat too, or are zero.
    """
    if not ffn_output.is_cuda:
        used = counts.tolist()[1]
        if not used:
            return
        rows, vectors = rows[:used], vectors[:used]
    ffn_output.index_copy_(0, rows, connect(ffn_output.index_select(0, rows), vectors))


def _fake_capture(ffn_output: Tensor, activations: Tensor, counts: Tensor, rows: Tensor, slots: Tensor) -> None:
    return None


def _fake_inject(ffn_output: Tensor, counts: Tensor, rows: Tensor, vectors: Tensor) -> None:
    return None


if not hasattr(torch.ops.vllm, "cc_capture"):
    direct_register_custom_op("cc_capture", cc_capture, mutates_args=["activations"], fake_impl=_fake_capture)
    direct_register_custom_op("cc_inject", cc_inject, mutates_args=["ffn_output"], fake_impl=_fake_inject)
