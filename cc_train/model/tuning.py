"""Which weights are trained: all, a LoRA adapter's, or only the Decision Maker's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

ADAPTER_DIRECTORY = "adapter"  # a directory of its own: transformers would load an adapter beside config.json unasked
LEARNING_RATES = {"full": 1e-5, "lora": 2e-4, "connection": 1e-3}
_PEFT_MODEL = "base_model.model."  # how PEFT names the model that it wraps
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass
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
    lora_merge: bool = field(
        default=True,
        metadata={
            "help": "Merge the adapter into the saved weights. Otherwise these are the base's, and the adapter is in "
            f"{ADAPTER_DIRECTORY}/, as vLLM's --lora-modules loads it."
        },
    )


class Adapter:
    """A LoRA adapter in PEFT's format, put into a model in place.

    Args:
        model: its linear layers but the LM head get the adapter, and nothing else in it is trained any more.
        arguments: the adapter's size.
    """

    def __init__(self, model: PreTrainedModel, arguments: TuningArguments) -> None:
        from peft import LoraConfig, get_peft_model

        self._config = LoraConfig(
            task_type="CAUSAL_LM",
            r=arguments.lora_rank,
            lora_alpha=arguments.lora_alpha,
            lora_dropout=arguments.lora_dropout,
            target_modules="all-linear",
        )
        self._model = get_peft_model(model, self._config)

    def save(self, weights: dict[str, Tensor], directory: Path) -> None:
        """Write ``adapter_config.json`` and the adapter's weights, fp32.

        Args:
            weights: the whole state of the model, by name.
            directory: made if it is not there.
        """
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(
            self._model, state_dict={_PEFT_MODEL + name: value for name, value in weights.items()}
        )
        self._config.inference_mode = True
        self._config.save_pretrained(str(directory))
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, directory / _ADAPTER_WEIGHTS)


def with_adapter(base: PreTrainedModel, directory: str | Path) -> PreTrainedModel:
    """``base`` with the adapter beside its weights in ``directory``, if there is one."""
    adapter = Path(directory) / ADAPTER_DIRECTORY
    return merged(base, adapter) if adapter.is_dir() else base


def merged(base: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """``base`` with the adapter that is saved at ``adapter`` added to its weights."""
    from peft import PeftModel

    model: Any = PeftModel.from_pretrained(base, str(adapter))
    return cast(PreTrainedModel, model.merge_and_unload())
