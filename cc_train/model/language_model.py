"""The language model inside a model that also reads images, such as ``Gemma3ForConditionalGeneration``."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from cc_core.architectures import UnsupportedArchitectureError


def language_model(model: PreTrainedModel) -> PreTrainedModel:
    """``model`` itself, or the causal language model in it, with the same weights in memory.

    Raises:
        UnsupportedArchitectureError: no class of transformers is that language model alone.
    """
    config = model.config.get_text_config()
    if config is model.config:
        return model
    wrapper: Any = model
    auto: Any = AutoModelForCausalLM
    inner = getattr(wrapper.model, "language_model", None)
    try:
        with torch.device("meta"):
            alone: Any = auto.from_config(config)
    except ValueError as error:  # no class for this configuration
        raise UnsupportedArchitectureError(type(model).__name__) from error
    if type(alone.model) is not type(inner):
        raise UnsupportedArchitectureError(type(model).__name__)
    alone.model, alone.lm_head = inner, wrapper.lm_head
    alone.generation_config = model.generation_config
    # The whole model's configuration decided whether they are tied, and the inner one may say otherwise.
    alone.config.tie_word_embeddings = alone.lm_head.weight is alone.get_input_embeddings().weight
    alone.config.architectures = [type(alone).__name__]
    language: PreTrainedModel = alone
    return language
