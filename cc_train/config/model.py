"""Options about the model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelArguments:
    """What is trained."""

    _argument_group_name = "model"

    model: str = field(metadata={"help": "Directory of a Hugging Face causal language model."})
    freeze_embeddings: bool = field(
        default=False, metadata={"help": "Do not train the input embeddings (nor an LM head tied to them)."}
    )
