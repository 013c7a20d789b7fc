"""A LoRA adapter: put into a model, saved, and merged into the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from cc_core.terminal.text import one_line
from cc_train.config.parser import UsageError
from cc_train.config.tuning import ADAPTER_DIRECTORY, TuningArguments

_PEFT_MODEL = "base_model.model."  # how PEFT names the model that it wraps
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


class Adapter:
    """A LoRA adapter in PEFT's format, put into a model in place.

    Args:
        model: its layers get the adapter; nothing else in it is trained from then on.
        rank: the rank of the two factors.
        alpha: their product is scaled by this over the rank.
        dropout: on the adapter's input in training, from 0 to below 1.
        target: the layers' names; None for every linear layer but the LM head.
        rslora: scale by alpha over the root of the rank.
        dora: train the weights' magnitudes apart.

    Raises:
        UsageError: no layer has such a name, or PEFT cannot adapt it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        rank: int,
        alpha: int = 32,
        dropout: float = 0.0,
        target: list[str] | None = None,
        rslora: bool = False,
        dora: bool = False,
    ) -> None:
        from peft import LoraConfig, get_peft_model

        _check_target(model, target or [])
        self._config = LoraConfig(
            task_type="CAUSAL_LM",
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=target or "all-linear",
            use_rslora=rslora,
            use_dora=dora,
        )
        try:
            self._model = get_peft_model(model, self._config)
        except ValueError as error:
            raise UsageError(
                f"--lora-target {' '.join(target or [])}: {one_line(error)}; {_linear_layers(model)}"
            ) from error

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


def _check_target(model: PreTrainedModel, target: list[str]) -> None:
    """Raise `UsageError` for each name that no layer has. PEFT raises only if no layer has any of them."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[no-untyped-call]
    tied = [embeddings, head] if head is not None and head.weight is embeddings.weight else []
    for name in target:
        found = [module for path, module in model.named_modules() if path == name or path.endswith(f".{name}")]
        if not found:
            raise UsageError(f"--lora-target {name}: no layer has this name; {_linear_layers(model)}")
        if any(module is one for module in found for one in tied):
            # Merging would change both, and training changed only one.
            raise UsageError(
                f"--lora-target {name}: this model's input embeddings and LM head are one weight, which no adapter can "
                f"be merged into; {_linear_layers(model)}"
            )


def _linear_layers(model: PreTrainedModel) -> str:
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    return f"linear layers: {', '.join(sorted(linear))}"


def make_adapter(model: PreTrainedModel, tuning: TuningArguments) -> Adapter:
    """Put the adapter that a run's options describe into ``model``."""
    return Adapter(
        model,
        rank=tuning.lora_rank,
        alpha=tuning.lora_alpha,
        dropout=tuning.lora_dropout,
        target=tuning.lora_target,
        rslora=tuning.lora_rslora,
        dora=tuning.lora_dora,
    )


def with_adapter(base: PreTrainedModel, directory: str | Path) -> PreTrainedModel:
    """``base`` with the adapter of ``directory`` merged into it, if there is one."""
    adapter = Path(directory) / ADAPTER_DIRECTORY
    return merged(base, adapter) if adapter.is_dir() else base


def merged(base: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """``base`` with the adapter that is saved at ``adapter`` merged into its weights."""
    from peft import PeftModel

    model: Any = PeftModel.from_pretrained(base, str(adapter))
    return cast(PreTrainedModel, model.merge_and_unload())
