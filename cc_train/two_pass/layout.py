"""Where the tokens of a batch stand in a pass: padded to the longest row, or one row after another without padding.

transformers calls the second "packed". Its masks are block-diagonal where the position ids begin again, and flash
attention takes the places where rows begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cc_core.architectures import FAMILIES
from cc_train.model.activations import Places

#: Families whose rows stay apart without padding. GPT-OSS does not hand the position ids to its masks.
PADDING_FREE = frozenset(FAMILIES) - {"GptOssForCausalLM"}


@dataclass(frozen=True)
class Layout:
    """The layout of one pass.

    Args:
        mask: the batch's attention mask, padded on the right, ``[B, N]``.
        padding_free: whether the rows follow one another in a single one of all T tokens.
    """

    mask: Tensor
    padding_free: bool

    def tokens(self, values: Tensor) -> Tensor:
        """Values of tokens, such as labels, ``[B, N]``, as they stand: ``[B, N]`` or ``[1, T]``."""
        return values[self.mask.bool()][None] if self.padding_free else values

    def inputs(self, ids: Tensor) -> dict[str, Any]:
        """What the model is called with for token ids ``[B, N]``."""
        if not self.padding_free:
            return {"input_ids": ids, "attention_mask": self.mask}
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        ends = F.pad(self.mask.sum(dim=1).cumsum(dim=0), (1, 0)).int()
        return {
            "input_ids": self.tokens(ids),
            "position_ids": self.tokens(positions),
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": ids.shape[1],
            "max_length_k": ids.shape[1],
        }

    def places(self, positions: Tensor) -> Places:
        """Rows and columns ``[B]`` of one token in each row, from its position in the row ``[B]``."""
        if not self.padding_free:
            return torch.arange(len(positions), device=positions.device), positions
        lengths = self.mask.sum(dim=1)
        return torch.zeros_like(positions), lengths.cumsum(dim=0) - lengths + positions
