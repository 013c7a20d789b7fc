"""Pass 1 of all rows before training.

If the language model is frozen, every epoch uses these activations. `cc_train.two_pass.alignment` aligns to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from cc_train.data.batches import pad_right
from cc_train.data.encoding import Example
from cc_train.two_pass.model import TwoPassModel

MOST_BYTES = 8 << 30  # if the activations need more, every epoch runs the English prompts again
_BATCH = 32


def bytes_needed(model: TwoPassModel, rows: int) -> int:
    """Size of the English activations of ``rows`` rows, fp32."""
    return 4 * rows * int(model.config.num_hidden_layers) * int(model.config.hidden_size)


def precompute_english(
    model: TwoPassModel,
    examples: Sequence[Example],
    pad_id: int,
    on_batch: Callable[[int], object] = lambda _rows: None,
) -> Tensor:
    """Run every row's English prompt: ``a_l`` at its anchor, ``[R, L, H]`` fp32 on the CPU."""
    found: Tensor | None = None
    for rows, activations in english_batches(model, examples, pad_id):
        if found is None:
            found = activations.new_empty(len(examples), *activations.shape[1:])
        found[rows] = activations
        on_batch(len(rows))
    assert found is not None, "there is no row"
    return found


@torch.no_grad()
def english_batches(
    model: TwoPassModel, examples: Sequence[Example], pad_id: int, part: int = 0, parts: int = 1
) -> Iterator[tuple[list[int], Tensor]]:
    """Run the rows' English prompts: indices of rows, and ``a_l`` at their anchors, ``[B, L, H]`` fp32 on the CPU.

    Rows of similar length run together. The batches depend on the rows alone, so a resumed run gets the same numbers.

    Args:
        model: whose ``a_l``.
        examples: the rows.
        pad_id: fills batches.
        part, parts: run only every ``parts``-th batch, for processes that share the work; each must use up its
            batches.
    """
    device = model.language_model.device
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].english))
    with _gathered(model):
        for start in range(part * _BATCH, len(order), parts * _BATCH):
            batch = order[start : start + _BATCH]
            ids, mask = (t.to(device) for t in pad_right([examples[index].english for index in batch], pad_id))
            yield batch, model.english_activations(ids, mask).cpu()


def _gathered(model: TwoPassModel) -> AbstractContextManager[Any]:
    """Gather the weights that DeepSpeed's ZeRO-3 has sharded; outside training nothing else gathers them."""
    shares = [parameter for parameter in model.parameters() if hasattr(parameter, "ds_id")]
    if not shares:
        return nullcontext()
    import deepspeed

    gathered: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(shares)
    return gathered
