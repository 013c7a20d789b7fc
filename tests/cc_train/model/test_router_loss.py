"""Where the configuration of a mixture of experts asks for its router loss, it is trained as transformers trains it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from cc_core.checkpoint import save_connection
from cc_train.evaluation.generation import greedy
from cc_train.model.activations import anchor_positions, capture_at
from cc_train.model.files import load_model
from cc_train.model.reference import Reference
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.commands.test_main import losses, train
from tests.cc_train.training.test_trainer import batch_of, examples, gradients, two_pass
from tests.support.tiny import random_connection, tiny_model
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

MIXTURES = (
    "GptOssForCausalLM",
    "GraniteMoeForCausalLM",
    "MixtralForCausalLM",
    "OlmoeForCausalLM",
    "Qwen2MoeForCausalLM",
    "Qwen3MoeForCausalLM",
)
EVERY_MIXTURE = pytest.mark.parametrize("architecture", MIXTURES)


def save_mixture(directory: Path, architecture: str, *, asks: bool = True) -> Path:
    """A base whose configuration asks for the router loss, large enough to be seen."""
    model = tiny_model(architecture)
    model.config.output_router_logits, model.config.router_aux_loss_coef = asks, 0.5
    return save_base(directory, model)


def mixture(directory: Path, architecture: str, *, asks: bool = True) -> PreTrainedModel:
    """As it is loaded for training."""
    return load_model(save_mixture(directory, architecture, asks=asks), torch.float32).train()


@EVERY_MIXTURE
def test_it_is_transformers_own(architecture: str, tmp_path: Path) -> None:
    model, batch = mixture(tmp_path, architecture), batch_of(examples())
    whole = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"])
    assert whole.aux_loss > 0
    torch.testing.assert_close(TwoPassModel(model, None).train()(**batch)["loss"], whole.loss)


@EVERY_MIXTURE
def test_without_the_option_there_is_none(architecture: str, tmp_path: Path) -> None:
    model, batch = mixture(tmp_path, architecture, asks=False), batch_of(examples())
    whole = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"])
    torch.testing.assert_close(TwoPassModel(model, None).train()(**batch)["loss"], whole.loss)


@EVERY_MIXTURE
def test_it_reaches_the_routers_of_a_connected_model_with_and_without_checkpointing(
    architecture: str, tmp_path: Path
) -> None:
    module, batch = two_pass(mixture(tmp_path, architecture)).train(), batch_of(examples())
    asked = gradients(module, [batch], 1)
    module.gradient_checkpointing_enable()
    for one, other in zip(asked, gradients(module, [batch], 1), strict=True):
        torch.testing.assert_close(one, other)
    module.config.output_router_logits = False
    module.language_model._forward_pre_hooks.clear()
    left_out = gradients(module, [batch], 1)
    named = zip((name for name, _ in module.named_parameters()), asked, left_out, strict=True)
    moved = {name for name, one, other in named if not torch.allclose(one, other)}
    assert any("gate.weight" in name or "router" in name for name in moved)


def test_batches_of_a_step_weigh_as_their_answers_do(tmp_path: Path) -> None:
    model, some = mixture(tmp_path, "MixtralForCausalLM"), examples()
    module, batches = TwoPassModel(model, None).train(), [batch_of(some[:1]), batch_of(some[1:])]
    sizes = [sum(len(e.answer) for e in part) for part in (some[:1], some[1:])]
    alone = [module(**batch)["loss"] for batch in batches]
    together = sum(module(**batch, num_items_in_batch=sum(sizes))["loss"] for batch in batches)
    mean = sum(size * loss for size, loss in zip(sizes, alone, strict=True)) / sum(sizes)
    torch.testing.assert_close(together, mean)


@EVERY_MIXTURE
def test_nothing_else_computes_it(architecture: str, tmp_path: Path) -> None:
    """Evaluation, generation with a cache, and activations, whose last layer runs at the anchors alone."""
    model, batch = mixture(tmp_path, architecture).eval(), batch_of(examples())
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert model(ids, attention_mask=mask).aux_loss is None
    with torch.inference_mode(), capture_at(model, anchor_positions(mask, -1)):
        model(ids, attention_mask=mask)
    assert [len(answer) for answer in greedy(model, ids, mask, [], 3)] == [3] * len(ids)
    plain, asked = (TwoPassModel(m, None).eval()(**batch)["loss"] for m in (tiny_model(architecture), model))
    torch.testing.assert_close(plain, asked)


def test_the_reference_leaves_it_out(tmp_path: Path) -> None:
    base = save_mixture(tmp_path, "Qwen3MoeForCausalLM")
    save_connection(base, random_connection(["global"]), ["de"])
    assert len(Reference.from_checkpoint(base).generate([1, 5, 9], "global", 3).tokens) == 3


@pytest.mark.parametrize("tuning", ["full", "connection"])
def test_a_run(tuning: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(copies=1))
    found = []
    for asks in (False, True):
        base = save_mixture(tmp_path / f"base-{asks}", "Qwen3MoeForCausalLM", asks=asks)
        options = ("--max-steps", "2", "--logging-steps", "1", "--tuning", tuning)
        assert train(base, rows, tmp_path / f"{tuning}-{asks}", *options) == 0
        found.append(losses(tmp_path / f"{tuning}-{asks}")[0])
    without, asked = found
    if tuning == "full":
        assert asked - without > 0.5  # the loss of two experts that are used alike is 2, times the coefficient
        assert load_model(tmp_path / "full-True", torch.float32).config.output_router_logits
    else:
        assert asked == without, "nothing is trained that could change the routing"
