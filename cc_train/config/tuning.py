"""Options about which weights are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cc_train.config.parser import check

ADAPTER_DIRECTORY = "adapter"  # apart from config.json: transformers would load an adapter beside it unasked
LEARNING_RATES = {"full": 1e-5, "lora": 2e-4, "connection": 1e-3}


@dataclass(frozen=True)
class TuningArguments:
    """Which weights are trained."""

    _argument_group_name = "tuning"

    tuning: Literal["full", "lora", "connection"] = field(
        default="full",
        metadata={
            "help": "full: every weight. lora: a PEFT adapter on every linear layer but the LM head. connection: only "
            "the Decision Maker; the base stays as it is, and the output is a connection for `cc-train attach`."
        },
    )
    lora_rank: int = field(default=16, metadata={"help": "Rank of the adapter; vLLM's --max-lora-rank bounds it."})
    lora_alpha: int = field(default=32, metadata={"help": "The adapter is scaled by this over its rank."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout on the adapter's input in training."})
    lora_target: list[str] | None = field(
        default=None,
        metadata={
            "help": "Names of the layers that get the adapter, such as q_proj v_proj; if not given, every linear layer "
            "but the LM head."
        },
    )
    lora_rslora: bool = field(
        default=False, metadata={"help": "Scale the adapter by alpha over the root of its rank (rsLoRA)."}
    )
    lora_dora: bool = field(
        default=False, metadata={"help": "Train the weights' magnitudes apart from their directions (DoRA); slower."}
    )
    quantize_base: Literal["none", "4bit"] = field(
        default="none",
        metadata={
            "help": "4bit: hold the base in 4 bits while an adapter is trained (QLoRA); needs a GPU and bitsandbytes."
        },
    )
    lora_merge: bool = field(
        default=True,
        metadata={
            "help": "Merge the adapter into the saved weights. Otherwise these are the base's, and the adapter is in "
            f"{ADAPTER_DIRECTORY}/, as vLLM's --lora-modules loads it."
        },
    )

    def __post_init__(self) -> None:
        check(
            (
                ("--lora-rank", self.lora_rank < 1, "must be at least 1"),
                ("--lora-alpha", self.lora_alpha < 1, "must be at least 1"),
                (
                    "--lora-dora",
                    self.lora_dora and not self.lora_merge,
                    "needs --lora-merge true: vLLM loads no such adapter",
                ),
                ("--quantize-base", self.quantize_base != "none" and self.tuning != "lora", "needs --tuning lora"),
                *(
                    (option, given and self.tuning != "lora", "needs --tuning lora")
                    for option, given in (
                        ("--lora-target", self.lora_target is not None),
                        ("--lora-rslora", self.lora_rslora),
                        ("--lora-dora", self.lora_dora),
                        ("--lora-rank", self.lora_rank != type(self).lora_rank),
                        ("--lora-alpha", self.lora_alpha != type(self).lora_alpha),
                        ("--lora-dropout", self.lora_dropout != type(self).lora_dropout),
                        ("--lora-merge", self.lora_merge != type(self).lora_merge),
                    )
                ),
                ("--lora-dropout", not 0 <= self.lora_dropout < 1, "must be at least 0 and below 1"),
            )
        )
