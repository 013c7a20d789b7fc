"""The alignment, held against its formula written out row by row, in one batch and in parts of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from cc_train.data.encoding import Example
from cc_train.model.activations import capture_at
from cc_train.two_pass.alignment import alignment_loss, layer_weights
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.training.test_trainer import EVERY_FAMILY, batch_of, examples, gradients
from tests.support.tiny import HIDDEN, LAYERS, tiny_llama

WEIGHTS = torch.arange(1.0, LAYERS + 1)
LAMBDA = 3.0


def aligned(model: PreTrainedModel, method: str, offset: int = -1, weight: float = LAMBDA) -> TwoPassModel:
    torch.manual_seed(0)
    decision = ExtendedDecisionMaker(LAYERS, HIDDEN) if method == "cc" else None
    module = TwoPassModel(model, decision, anchor_offset=offset, align=weight)
    module.layer_weights = WEIGHTS
    return module.eval()


def targets_of(count: int) -> torch.Tensor:
    return torch.randn(count, LAYERS, HIDDEN, generator=torch.Generator().manual_seed(7))


def own_activations(model: PreTrainedModel, example: Example, offset: int) -> torch.Tensor:
    """``a_l`` of the prompt alone, without answer, padding or connection, ``[L, H]``."""
    prompt = torch.tensor([example.prompt.tolist()])
    with capture_at(model, torch.tensor([prompt.shape[1] + offset]), alone=False) as capture:
        model(prompt)
    return capture.activations[0]


@EVERY_FAMILY
@pytest.mark.parametrize("method", ["sft", "cc"])
@pytest.mark.parametrize("offset", [-1, -2])
def test_a_padded_mixed_batch_is_aligned_row_by_row(make: Callable, method: str, offset: int) -> None:
    model = make()
    module, some = aligned(model, method, offset), examples()
    targets = targets_of(len(some))
    expected = 0.0
    for example, target in zip(some, targets, strict=True):
        squares = (own_activations(model, example, offset) - target).square().mean(dim=1)
        expected += float((squares * WEIGHTS).mean().detach()) / len(some)
    batch = batch_of(some, offset)
    outcome = module(**batch, alignment_targets=targets)
    assert outcome["alignment"].item() == pytest.approx(expected, rel=1e-4)
    answers = module(**batch)["loss"]
    torch.testing.assert_close(outcome["loss"], answers + LAMBDA * outcome["alignment"])


def test_a_layers_weight_is_one_over_its_variance() -> None:
    own, english = torch.ones(2, 3, 5), torch.zeros(2, 3, 5)
    weights = layer_weights(torch.tensor([1.0, 4.0, 0.0]))
    torch.testing.assert_close(weights, torch.tensor([1 / (1 + 1e-6), 1 / (4 + 1e-6), 1e6]))
    torch.testing.assert_close(alignment_loss(own, english, weights), 2 * weights.mean())


@pytest.mark.parametrize("method", ["sft", "cc"])
def test_every_layer_gets_the_alignments_gradient(method: str) -> None:
    module = aligned(tiny_llama(), method)
    some = examples()
    module(**batch_of(some), alignment_targets=targets_of(len(some)))["loss"].backward()
    with_it = [p.grad.clone() for p in module.language_model.parameters()]
    module.zero_grad()
    module(**batch_of(some))["loss"].backward()
    for parameter, gradient in zip(module.language_model.model.layers.parameters(), with_it[1:], strict=False):
        assert not torch.allclose(parameter.grad, gradient)


@pytest.mark.parametrize("method", ["sft", "cc"])
def test_accumulated_batches_weigh_rows_alike(method: str) -> None:
    """In one batch and in two of different sizes."""
    module, some = aligned(tiny_llama(), method), examples()
    targets, items = targets_of(len(some)), sum(len(e.answer) for e in some)

    def part(start: int, stop: int) -> dict[str, object]:
        return batch_of(some[start:stop]) | {"alignment_targets": targets[start:stop], "num_rows_in_batch": len(some)}

    whole = gradients(module, [part(0, 4)], items)
    for one, other in zip(whole, gradients(module, [part(0, 1), part(1, 4)], items), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["sft", "cc"])
def test_gradient_checkpointing_changes_no_gradient(method: str) -> None:
    module, some = aligned(tiny_llama(), method).train(), examples()
    batch = batch_of(some) | {"alignment_targets": targets_of(len(some))}
    plain = gradients(module, [batch], 1)
    module.gradient_checkpointing_enable()
    for one, other in zip(plain, gradients(module, [batch], 1), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["sft", "cc"])
def test_rows_without_an_answer_are_aligned_and_nothing_else(method: str) -> None:
    model, some = tiny_llama(), examples()
    module = aligned(model, method)
    none = torch.zeros(0, dtype=torch.int32).numpy()
    bare = [replace(example, answer=none) for example in some]
    targets = targets_of(len(some))
    found = module(**batch_of(bare), alignment_targets=targets, num_items_in_batch=torch.tensor(0))
    torch.testing.assert_close(found["loss"], LAMBDA * found["alignment"])
    assert module.take_choices() is None, "no answer, no connection"
    mixed = module(**batch_of([some[0], *bare[1:]]), alignment_targets=targets)
    torch.testing.assert_close(mixed["alignment"], found["alignment"], rtol=1e-4, atol=1e-6)
    alone = module(**batch_of(some[:1]))["loss"]
    torch.testing.assert_close(mixed["loss"] - LAMBDA * mixed["alignment"], alone, rtol=1e-4, atol=1e-4)


def test_the_connection_changes_later_layers_of_pass_two_and_not_layer_0() -> None:
    """Why a connected row's own activations come from pass 1."""
    module, some = aligned(tiny_llama(), "cc"), [e for e in examples() if e.row.connected]
    batch, captures = batch_of(some), []
    vector = 5 * F.normalize(torch.randn(len(some), HIDDEN, generator=torch.Generator().manual_seed(1)), dim=-1)
    for given in (None, vector):
        hooks = module._answer_hooks(batch["anchors"], given, captures)
        with hooks:
            module.language_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    plain, connected = (capture.activations for capture in captures)
    torch.testing.assert_close(plain[:, 0], connected[:, 0])
    for layer in range(1, LAYERS):
        assert (plain[:, layer] - connected[:, layer]).norm(dim=-1).min() > 1e-3
