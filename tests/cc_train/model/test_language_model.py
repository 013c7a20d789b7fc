"""The language model of a model that also reads images is trained and saved as a model of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from cc_core.architectures import UnsupportedArchitectureError
from cc_core.files import CheckpointError
from cc_train.config.parser import UsageError
from cc_train.model.files import load_base, load_model
from tests.cc_train.commands.test_main import train
from tests.support.tiny import VISION, config_of, gemma3_with_vision
from tests.support.tiny_tokenizer import save_base, tiny_tokenizer, word_rows, write_rows

IDS = torch.tensor([[1, 5, 9, 33, 20]])


def mistral3() -> PreTrainedModel:
    text = config_of("MistralForCausalLM").to_dict()
    torch.manual_seed(0)
    return Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=VISION | {"model_type": "pixtral"})
    )


@pytest.mark.parametrize(
    ("make", "expected"),
    [(gemma3_with_vision, "Gemma3ForCausalLM"), (mistral3, "MistralForCausalLM")],
    ids=["gemma3", "mistral3"],
)
def test_it_answers_as_the_whole_model_does(make: Any, expected: str, tmp_path: Path) -> None:
    whole = make()
    whole.save_pretrained(tmp_path / "whole")
    model = load_model(tmp_path / "whole", torch.float32)
    assert type(model).__name__ == expected
    model.save_pretrained(tmp_path / "alone")
    alone = load_model(tmp_path / "alone", torch.float32)
    with torch.inference_mode():
        wanted = whole.eval()(input_ids=IDS).logits
        torch.testing.assert_close(model.eval()(IDS).logits, wanted)
        torch.testing.assert_close(alone.eval()(IDS).logits, wanted)


def test_a_run_ends_in_a_checkpoint_of_the_language_model(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", gemma3_with_vision())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows())
    assert train(base, rows, tmp_path / "tuned", "--max-steps", "2") == 0
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert config["architectures"] == ["CCGemma3ForCausalLM"]
    assert "vision_config" not in config


def test_a_wrapper_whose_language_model_is_missing_is_refused(tmp_path: Path) -> None:
    """transformers would fill it with random values."""
    gemma3_with_vision().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    vision = {name: tensor for name, tensor in weights.items() if "language_model" not in name}
    save_file(vision, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"holds no weights for .*, and \d+ tensors are missing in all"):
        load_model(tmp_path, torch.float32)


def test_a_wrapper_whose_eyes_are_missing_is_not(tmp_path: Path) -> None:
    whole = gemma3_with_vision()
    whole.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    language = {name: tensor for name, tensor in weights.items() if "vision" not in name and "multi_modal" not in name}
    assert len(language) < len(weights)
    save_file(language, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = load_model(tmp_path, torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(IDS).logits, whole.eval()(input_ids=IDS).logits)


def test_a_model_that_has_no_language_model_is_refused(tmp_path: Path) -> None:
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"architecture 'CLIPModel' cannot be connected.*to add one: docs/how-to/"):
        load_base(str(tmp_path), captures=True)


def test_a_language_model_that_has_no_class_of_its_own_is_refused(tmp_path: Path) -> None:
    text = config_of("Qwen2ForCausalLM").to_dict() | {"rope_parameters": None}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
    Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UnsupportedArchitectureError, match="Qwen2_5_VLForConditionalGeneration"):
        load_model(tmp_path, torch.float32)
