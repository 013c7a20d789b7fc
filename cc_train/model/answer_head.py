"""The LM head at the answers' positions only. Most of a batch is prompt, and logits are as wide as the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel

from cc_train.data.batches import IGNORED


class AnswerLogits(NamedTuple):
    """What a pass gives for the A answer tokens of a batch.

    Args:
        logits: ``[A, V]``, at the positions that predict them.
        targets: their ids, ``[A]``.
        router_loss: a scalar, from `cc_train.model.router_loss.router_loss`; None where it is not trained on.
    """

    logits: Tensor
    targets: Tensor
    router_loss: Tensor | None = None


def answer_positions(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns ``[A]`` of the positions that predict a token of an answer, from ``labels`` ``[B, N]``."""
    rows, columns = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
    return rows, columns


def output_embeddings(model: PreTrainedModel) -> nn.Module:
    """The LM head, typed: transformers leaves its method untyped."""
    untyped: Any = model
    head: nn.Module = untyped.get_output_embeddings()
    return head


@contextmanager
def head_only_at(
    model: PreTrainedModel, rows: Tensor, columns: Tensor, kept: list[Tensor] | None = None
) -> Iterator[None]:
    """Give the LM head only the hidden states at ``rows``, ``columns`` ``[A]``, in the one pass made inside.

    The model's own forward then returns logits ``[1, A, V]``, with whatever its family adds, such as soft-capping.

    Args:
        kept: receives the hidden states ``[A, H]``; the head then gets the first of them only.
    """

    def select(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states = args[0][rows, columns]
        if kept is not None:
            kept.append(states)
            states = states[:1]
        return (states[None],)

    handle = output_embeddings(model).register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
