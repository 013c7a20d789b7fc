"""Options about the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ModelArguments:
    """What is trained."""

    _argument_group_name = "model"

    model: str = field(metadata={"help": "Directory of a Hugging Face causal language model, or its id on the hub."})
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flex_attention"] = field(
        default="auto",
        metadata={
            "help": "Which of transformers' attention implementations trains; auto: what transformers chooses, and "
            "eager where attention scores are capped."
        },
    )
    freeze_embeddings: bool = field(
        default=False, metadata={"help": "Do not train the input embeddings (nor an LM head tied to them)."}
    )
