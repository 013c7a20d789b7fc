"""Which layers an adapter is put into, and which it is refused for."""

from __future__ import annotations

import pytest

from cc_train.config.parser import UsageError
from cc_train.model.adapter import Adapter
from tests.support.tiny import tiny_gemma3, tiny_llama


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens", "model.embed_tokens"])
def test_one_weight_of_embeddings_and_head_gets_no_adapter(name: str) -> None:
    """In training only one of the two would have it; merged, both."""
    with pytest.raises(UsageError, match=f"--lora-target {name}: this model's input embeddings and LM head are one"):
        Adapter(tiny_gemma3(), rank=2, target=["q_proj", name])


def test_a_head_of_its_own_gets_one() -> None:
    Adapter(tiny_llama(), rank=2, target=["q_proj", "lm_head"])


@pytest.mark.parametrize("target", [["gate"], ["q_proj", "gate"], ["q_proj", "proj"]])
def test_every_name_is_that_of_a_layer_and_the_head_is_not_offered(target: list[str]) -> None:
    with pytest.raises(
        UsageError, match=f"--lora-target {target[-1]}: no layer has this name; linear layers: "
    ) as told:
        Adapter(tiny_llama(), rank=2, target=target)
    assert "q_proj" in str(told.value)
    assert "lm_head" not in str(told.value)
