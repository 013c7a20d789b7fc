"""The LM head at the answers' positions only: most of a batch is prompt, and a vocabulary is large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import PreTrainedModel

from cc_train.data.batches import IGNORED


def answer_positions(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns ``[A]`` of the positions whose next token is in an answer, of ``labels`` ``[B, N]``."""
    rows, columns = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
    return rows, columns


@contextmanager
def head_only_at(model: PreTrainedModel, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """Give the LM head only the hidden states at ``rows``, ``columns`` ``[A]``, in the one pass made inside.

    The model's own forward then finishes them, with whatever its family does to logits, as ``[1, A, V]``.
    """

    def select(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][rows, columns][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
