"""The English prompts' activations of all rows at once, for a model whose weights do not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from cc_train.data.batches import pad_right
from cc_train.data.encoding import Example
from cc_train.training.two_pass import ParallelModel

MOST_BYTES = 8 << 30  # of activations that are kept; with more, every epoch runs the English prompts again
_BATCH = 32


def bytes_needed(model: ParallelModel, rows: int) -> int:
    """What the activations of so many rows take, fp32."""
    return 4 * rows * model.config.num_hidden_layers * model.config.hidden_size


@torch.no_grad()
def known_activations(
    model: ParallelModel,
    examples: Sequence[Example],
    pad_id: int,
    on_batch: Callable[[int], object] = lambda _rows: None,
) -> Tensor:
    """``a_l`` of every row's English prompt at its anchor, ``[R, L, H]`` fp32 on the CPU.

    Rows of similar lengths run together, the same in every run on the same rows, so that a resumed run finds the
    same numbers.
    """
    device = model.language_model.device
    found: Tensor | None = None
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].english))
    with _whole(model):
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            ids, mask = (t.to(device) for t in pad_right([examples[index].english for index in batch], pad_id))
            activations = model.english_activations(ids, mask).cpu()
            if found is None:
                found = activations.new_empty(len(examples), *activations.shape[1:])
            found[batch] = activations
            on_batch(len(batch))
    assert found is not None, "there is no row"
    return found


def _whole(model: ParallelModel) -> AbstractContextManager[Any]:
    """Under DeepSpeed's ZeRO-3 transformers loads a share of every weight: outside training nobody gathers them."""
    shares = [parameter for parameter in model.parameters() if hasattr(parameter, "ds_id")]
    if not shares:
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(shares)
