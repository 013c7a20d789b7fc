"""A base held in 4 bits while an adapter is trained (QLoRA)."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig

from cc_train.config.parser import UsageError


def require_4bit() -> None:
    """Raise `UsageError` unless this machine can hold a base in 4 bits."""
    if not torch.cuda.is_available():
        raise UsageError("--quantize-base 4bit needs a GPU, and there is none here; leave it out, or train on one")
    if find_spec("bitsandbytes") is None:
        raise UsageError("--quantize-base 4bit needs bitsandbytes: pip install bitsandbytes")


def four_bits(compute: torch.dtype) -> BitsAndBytesConfig:
    """QLoRA's quantisation: NF4, its constants quantised again.

    Args:
        compute: the type in which layers compute.
    """
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
