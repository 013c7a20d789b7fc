"""Options about the method."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from cc_train.config.parser import check


@dataclass(frozen=True)
class MethodArguments:
    """How the connection is trained."""

    _argument_group_name = "method"

    method: Literal["cc", "sft"] = field(
        default="cc",
        metadata={"help": "cc: with the cross-lingual connection. sft: the baseline without it; writes a plain model."},
    )
    decision_normalize: bool = field(
        default=True,
        metadata={"help": "Normalise the Decision Maker's input in training; changes no choice at inference."},
    )
    gumbel_temperature: float = field(default=1.0, metadata={"help": "Temperature of the Gumbel-softmax gradient."})
    decision_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "The learning rate of the Decision Maker and the projection; the model's --learning-rate if not "
            "given."
        },
    )
    connection_scale: float | None = field(
        default=None,
        metadata={
            "help": "Remove what all prompts share from the English activations, rescale them to this root mean "
            "square, and go on training this projection; the Transform Matrices contain it. Not given: none."
        },
    )
    align: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the alignment (ours, not the paper's): a loss that draws a prompt's own activations to "
            "those that the model had on the English parallel before the training. 0: none. For --method sft too."
        },
    )
    loss_chunk: int | None = field(
        default=None,
        metadata={
            "help": "Answer tokens whose logits are in memory at once; 0: all. Not given: as many as take 256 MiB."
        },
    )
    anchor_offset: int = field(
        default=-1, metadata={"help": "The anchor's position, counted from the prompt's end; -1 is its last token."}
    )

    def __post_init__(self) -> None:
        scale = self.connection_scale
        check(
            (
                ("--gumbel-temperature", not self.gumbel_temperature > 0, "must be above 0"),
                ("--connection-scale", scale is not None and not scale > 0, "must be above 0"),
                ("--align", not 0 <= self.align < math.inf, "must be 0 or more, and finite"),
                ("--loss-chunk", (self.loss_chunk or 0) < 0, "must be 0 or more"),
                ("--anchor-offset", self.anchor_offset > -1, "must be -1 or less"),
                ("--decision-learning-rate", (self.decision_learning_rate or 0.0) < 0, "must be at least 0"),
            )
        )
