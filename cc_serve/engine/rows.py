"""Rows of a step's flattened batch: which are captured, which are connected, and the operations inside the graph.

A request holds one of a few slots from its capture step to its inject step. Every operation works on all slots, and
unused slots have no effect. So shapes and addresses are the same in each step: compiled graphs and CUDA graphs stay
valid, and the compiler fuses the operations with those around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vllm.utils.torch_utils import async_tensor_h2d

from cc_core.connection import connect


@dataclass(frozen=True)
class Row:
    """A row of the flattened batch, and the slot that it is captured into or connected from."""

    row: int
    slot: int


class ConnectionRows(nn.Module):
    """The step's rows, by slot.

    Args:
        num_slots: S.
        hidden_size: H.

    Buffers:
        capture: by slot, the row to record, ``[S]``. Unused slots record row 0, which nobody reads.
        inject: the rows to connect, ``[S]``. The places that are left over repeat the first row with its vector, so
            that the same value is written again; all are 0 if there is nothing to connect.
        vectors: what is added to the rows of ``inject``, ``[S, H]``, fp32; zero if there is nothing to connect.
    """

    capture: Tensor
    inject: Tensor
    vectors: Tensor

    def __init__(self, num_slots: int, hidden_size: int) -> None:
        super().__init__()
        self.num_slots = num_slots
        self.register_buffer("capture", torch.zeros(num_slots, dtype=torch.int64), persistent=False)
        self.register_buffer("inject", torch.zeros(num_slots, dtype=torch.int64), persistent=False)
        self.register_buffer("vectors", torch.zeros(num_slots, hidden_size, dtype=torch.float32), persistent=False)
        self._idle = True

    def fill(self, capture: Sequence[Row], inject: Sequence[Row], vectors: Tensor) -> None:
        """Write one step's rows.

        Args:
            capture: rows to record, at most S.
            inject: rows to connect, at most S.
            vectors: the vector of each slot, ``[S, H]``; read now, so that this step may reuse the slots.
        """
        if self._idle and not capture and not inject:
            return
        self._idle = not capture and not inject
        rows = [0] * self.num_slots
        for entry in capture:
            rows[entry.slot] = entry.row
        async_tensor_h2d(rows, out=self.capture)
        if inject:
            padded = [*inject, *[inject[0]] * (self.num_slots - len(inject))]
            async_tensor_h2d([entry.row for entry in padded], out=self.inject)
            torch.index_select(
                vectors, 0, async_tensor_h2d([entry.slot for entry in padded], device=vectors.device), out=self.vectors
            )
        else:
            self.inject.zero_()
            self.vectors.zero_()


def capture_rows(states: Tensor, rows: ConnectionRows, captured: Tensor) -> None:
    """Write the captured rows of ``states`` to ``captured`` ``[S, H]``.

    Args:
        states: ``[num_tokens, H]``, or ``[1, num_tokens, H]`` from the classes of vLLM's Transformers backend.
    """
    captured.copy_(states.flatten(0, -2).index_select(0, rows.capture))


def inject_rows(ffn_output: Tensor, rows: ConnectionRows) -> None:
    """Add the connections to layer 0's FFN contribution, in place; for its shape see `capture_rows`."""
    flat = ffn_output.view(-1, ffn_output.shape[-1])
    flat.index_copy_(0, rows.inject, connect(flat.index_select(0, rows.inject), rows.vectors))
