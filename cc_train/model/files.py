"""Reading the model that is trained, and writing the one that was."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from cc_core.architectures import base_architecture
from cc_core.files import json_bytes, replace_file
from cc_core.names import CONFIG_FILE, CONNECTION_KEY
from cc_train.config.run import RunConfig, UsageError
from cc_train.model.activations import architecture_of
from cc_train.model.tuning import ADAPTER_DIRECTORY, Adapter, merged, with_adapter

NOTICES = re.compile(r"licen[cs]e|notice|terms|use_policy", re.IGNORECASE)


def load_base(config: RunConfig) -> tuple[PreTrainedModel, Any]:
    """The model to train, fp32, and its tokenizer.

    Raises:
        UsageError: the directory does not hold them.
        UnsupportedArchitectureError: the model cannot be connected.
    """
    name = config.model.model
    try:
        model = load_model(name, torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except SafetensorError as error:
        raise UsageError(f"--model {name}: its weights are truncated or corrupt ({error}); copy it again") from error
    except RuntimeError as error:
        raise UsageError(f"--model {name}: its weights do not fit its config.json: {one_line(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        where = "" if Path(name).is_dir() else "no such directory, and "
        raise UsageError(f"--model {name}: {where}cannot be loaded: {one_line(error)}") from error
    if config.method.method == "cc":
        base_architecture(architecture_of(model))
    if hasattr(model.config, CONNECTION_KEY):
        # A tuned checkpoint's connection does not fit the weights that come of it.
        delattr(model.config, CONNECTION_KEY)
    if config.tuning.tuning == "connection":
        model.requires_grad_(False)
    elif config.model.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    return model, tokenizer


def load_model(path: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal language model, with the attention that computes what its family needs, and its adapter merged."""
    # Eager attention is the only one of transformers that caps attention scores, as Gemma 2 does.
    capped = getattr(AutoConfig.from_pretrained(path), "attn_logit_softcapping", None)
    attention = "eager" if capped else None
    return with_adapter(AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention), path)


def save_model(model: PreTrainedModel, weights: dict[str, Tensor], directory: Path, dtype: torch.dtype) -> None:
    """Write an ordinary checkpoint.

    Args:
        model: for its configuration.
        weights: by name, of any floating type.
        directory: receives weights and configuration.
        dtype: the weights are rounded to it.
    """
    model.config.use_cache = True  # Trainer turned it off for training only
    model.save_pretrained(directory, state_dict=_rounded(weights, dtype))
    path = directory / CONFIG_FILE
    config = json.loads(path.read_text("utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")  # save_pretrained wrote the dtype of training
    replace_file(path, json_bytes(config))


def save_tuned(
    config: RunConfig, model: PreTrainedModel, adapter: Adapter | None, weights: dict[str, Tensor], directory: Path
) -> None:
    """Write the trained weights: all of them, with the adapter merged, or beside it."""
    if adapter is None:
        save_model(model, weights, directory, config.save_dtype)
        return
    adapter.save(weights, directory / ADAPTER_DIRECTORY)
    base = load_model(config.model.model, torch.float32)
    if config.tuning.lora_merge:
        base = merged(base, directory / ADAPTER_DIRECTORY)
        shutil.rmtree(directory / ADAPTER_DIRECTORY)
    save_model(base, base.state_dict(), directory, config.save_dtype)


def load_tuned(config: RunConfig, directory: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The trained model as it will be served."""
    if config.tuning.tuning == "connection":
        return load_model(config.model.model, dtype)
    return load_model(directory, dtype)


def copy_notices(model: Path, directory: Path) -> None:
    """Copy the base model's licence files, which a model that is made of it must carry."""
    if model.is_dir():
        for path in model.iterdir():
            if path.is_file() and NOTICES.search(path.name):
                shutil.copyfile(path, directory / path.name)


def _rounded(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """``weights`` on the CPU in ``dtype``; tied tensors stay one, so that saving still drops the duplicates."""
    done: dict[tuple[int, torch.Size], Tensor] = {}
    for value in weights.values():
        key = (value.data_ptr(), value.shape)
        if key not in done:
            done[key] = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
    return {name: done[value.data_ptr(), value.shape] for name, value in weights.items()}


def one_line(error: BaseException) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
