"""Reading the base model, and writing the trained one."""

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
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)

from cc_core.architectures import UnsupportedArchitectureError, base_architecture
from cc_core.files import CheckpointError, json_bytes, replace_file
from cc_core.hub import UnknownModelError, local_directory
from cc_core.names import COMPRESSED_TENSORS, CONFIG_FILE, CONNECTION_KEY
from cc_core.quantization import quantization_of
from cc_core.terminal.text import counted, one_line
from cc_train.config.parser import UsageError
from cc_train.config.tuning import ADAPTER_DIRECTORY
from cc_train.model.activations import architecture_of
from cc_train.model.adapter import Adapter, merged, with_adapter
from cc_train.model.language_model import language_model
from cc_train.model.quantization import four_bits, require_4bit
from cc_train.model.quantized import is_quantized
from cc_train.model.router_loss import leave_routers_alone_where_nothing_is_trained

NOTICES = re.compile(r"licen[cs]e|notice|terms|use_policy", re.IGNORECASE)


def base_directory(name: str) -> Path:
    """The base model's directory, downloaded if ``name`` is its id on the hub; raises `UsageError`."""
    try:
        return local_directory(name)
    except UnknownModelError as error:
        raise UsageError(f"--model {error}") from error


def load_base(
    name: str,
    *,
    captures: bool,
    freezes: bool = False,
    freezes_embeddings: bool = False,
    attention: str = "auto",
    quantized: bool = False,
) -> tuple[PreTrainedModel, Any]:
    """The model to train, fp32, and its tokenizer.

    Args:
        name: the model's directory.
        captures: whether its FFN contributions are read.
        freezes: whether none of its weights is trained.
        freezes_embeddings: whether its input embeddings are not trained.
        attention: transformers' name of an implementation, or ``auto``.
        quantized: whether its linear layers are held in 4 bits.

    Raises:
        UsageError: the directory does not hold them.
        UnsupportedArchitectureError: the model cannot be connected.
    """
    if is_quantized(Path(name)):
        raise UsageError(
            f"--model {name}: is quantised, and such weights cannot be trained; train the model that it was made from, "
            "and quantise then"
        )
    if quantized:
        require_4bit()
    try:
        model = load_model(name, torch.float32, attention, quantized=quantized)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except UsageError:
        raise
    except CheckpointError as error:
        raise UsageError(f"--model {error}") from error
    except SafetensorError as error:
        raise UsageError(f"--model {name}: its weights are truncated or corrupt ({error}); copy it again") from error
    except RuntimeError as error:
        raise UsageError(f"--model {name}: its weights do not fit its config.json: {one_line(error)}") from error
    except ImportError as error:
        raise UsageError(f"--attention {attention}: {one_line(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        where = "" if Path(name).is_dir() else "no such directory, and "
        raise UsageError(f"--model {name}: {where}cannot be loaded: {one_line(error)}") from error
    if captures:
        base_architecture(architecture_of(model))
    if freezes:
        model.requires_grad_(False)
    elif freezes_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    return model, tokenizer


def load_model(
    path: str | Path, dtype: torch.dtype, attention: str = "auto", *, quantized: bool = False
) -> PreTrainedModel:
    """Load a causal language model, with the attention that its family needs and its adapter merged.

    Of a model that also reads images or sound, load the language model in it, as a model of its own.

    Raises:
        UsageError: its family cannot be trained with this attention.
        UnsupportedArchitectureError: it is no language model, and has none in it.
        CheckpointError: weights are missing, or ``config.json`` says wrongly how they were quantised.
    """
    quantization = quantization_of(Path(path))
    # Eager attention is the only one of transformers that caps attention scores, as Gemma 2 does.
    config = AutoConfig.from_pretrained(path)
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    if capped and attention not in ("auto", "eager"):
        raise UsageError(f"--attention {attention} does not cap attention scores, as this model does; use eager")
    chosen = "eager" if capped else None if attention == "auto" else attention
    options: dict[str, Any] = {"quantization_config": four_bits(torch.bfloat16)} if quantized else {}
    if quantization is not None and quantization.quant_method == COMPRESSED_TENSORS:
        # Else transformers unpacks the weights when the whole model is first called; parts of it are called here.
        options["config"] = config
        config.quantization_config = {**config.quantization_config, "dequantize": True}
    auto: Any = AutoModelForImageTextToText if config.get_text_config() is not config else AutoModelForCausalLM
    if type(config) not in auto._model_mapping:  # transformers would list every model that it has
        raise UnsupportedArchitectureError((config.architectures or [type(config).__name__])[0])
    model, report = auto.from_pretrained(
        path, dtype=dtype, attn_implementation=chosen, output_loading_info=True, **options
    )
    inner = language_model(model)
    kept = {id(tensor) for tensor in (*inner.parameters(), *inner.buffers())}
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    # transformers fills them with random values. What only reads images may be missing.
    if missing := sorted(n for n in report["missing_keys"] if n not in named or id(named[n]) in kept):
        raise CheckpointError(Path(path), _missing(missing, quantized=quantization is not None))
    language = with_adapter(inner, path)
    leave_routers_alone_where_nothing_is_trained(language)
    if hasattr(language.config, CONNECTION_KEY):
        # A tuned checkpoint's own connection will not fit the new weights.
        delattr(language.config, CONNECTION_KEY)
    return language


def _missing(names: list[str], *, quantized: bool) -> str:
    if quantized and any(".experts." in name for name in names):
        return "transformers cannot read experts beside quantised layers; name the checkpoint that was quantised"
    missing = counted(len(names), "tensor is", "tensors are")
    return f"holds no weights for {names[0]}, and {missing} missing in all; copy it again"


def save_model(model: PreTrainedModel, weights: dict[str, Tensor], directory: Path, dtype: torch.dtype) -> None:
    """Write an ordinary checkpoint.

    Args:
        model: for its configuration.
        weights: by name, of any float dtype.
        directory: receives weights and configuration.
        dtype: the weights are rounded to it.
    """
    model.config.use_cache = True  # Trainer turned it off for training only
    model.save_pretrained(directory, state_dict=_rounded(weights, dtype))
    path = directory / CONFIG_FILE
    config = json.loads(path.read_text("utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")  # save_pretrained wrote the dtype of training
    replace_file(path, json_bytes(config))


def save_adapted(
    base: str, adapter: Adapter, weights: dict[str, Tensor], directory: Path, dtype: torch.dtype, *, merge: bool
) -> None:
    """Write an ordinary checkpoint of a model that was trained with an adapter.

    Args:
        base: the directory of the model that the adapter was put into.
        adapter: the trained one.
        weights: the whole state of the model, by name.
        directory: receives weights and configuration.
        dtype: the weights are rounded to it.
        merge: write the adapter merged into the weights; else beside those of the base.
    """
    adapter.save(weights, directory / ADAPTER_DIRECTORY)
    model = load_model(base, torch.float32)
    if merge:
        model = merged(model, directory / ADAPTER_DIRECTORY)
        shutil.rmtree(directory / ADAPTER_DIRECTORY)
    save_model(model, model.state_dict(), directory, dtype)


def copy_notices(model: Path, directory: Path) -> None:
    """Copy the base model's licence files, which every model made from it must carry."""
    if model.is_dir():
        for path in model.iterdir():
            if path.is_file() and NOTICES.search(path.name):
                shutil.copyfile(path, directory / path.name)


def _rounded(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Copy ``weights`` to the CPU in ``dtype``. Tied tensors stay one, so that saving still drops the duplicates."""
    done: dict[tuple[int, torch.Size], Tensor] = {}
    for value in weights.values():
        key = (value.data_ptr(), value.shape)
        if key not in done:
            done[key] = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
    return {name: done[value.data_ptr(), value.shape] for name, value in weights.items()}
