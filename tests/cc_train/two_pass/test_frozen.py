"""A frozen model's pass in two parts equals the whole pass, in its loss and in the Decision Maker's gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from cc_train.training.precompute import precompute_english
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.training.test_trainer import EVERY_FAMILY, batch_of, examples
from tests.support.tiny import HIDDEN, LAYERS, tiny_llama


def both(model: PreTrainedModel, anchor_offset: int = -1) -> tuple[TwoPassModel, TwoPassModel]:
    """The same model and Decision Maker, trained whole and frozen."""
    torch.manual_seed(0)
    decision = ExtendedDecisionMaker(LAYERS, HIDDEN)
    whole = TwoPassModel(model, decision, anchor_offset=anchor_offset)
    model.requires_grad_(False)
    frozen = TwoPassModel(model, decision, anchor_offset=anchor_offset)
    assert (whole.frozen, frozen.frozen) == (False, True)
    return whole.train(), frozen.train()


def outcome(module: TwoPassModel, **inputs: object) -> tuple[torch.Tensor, torch.Tensor]:
    assert module.decision is not None
    module.decision.weight.grad = None
    torch.manual_seed(3)
    loss = module(**inputs)["loss"]
    loss.backward()
    gradient = module.decision.weight.grad
    assert gradient is not None
    return loss.detach(), gradient.clone()


@EVERY_FAMILY
@pytest.mark.parametrize("offset", [-1, -2])
def test_loss_and_gradient_are_those_of_the_whole_pass(make: Callable, offset: int) -> None:
    whole, frozen = both(make(), offset)
    batch = batch_of(examples(), offset)
    expected, found = outcome(whole, **batch), outcome(frozen, **batch)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-3, atol=1e-6)
    assert found[1].abs().max() > 1e-4


def test_only_the_anchor_and_the_answer_run_with_a_gradient() -> None:
    _, frozen = both(tiny_llama())
    tokens: dict[bool, int] = {True: 0, False: 0}
    frozen.language_model.model.layers[1].mlp.register_forward_hook(
        lambda _m, _a, out: tokens.__setitem__(out.requires_grad, tokens[out.requires_grad] + out.shape[1])
    )
    some = examples()
    outcome(frozen, **batch_of(some))
    assert tokens[True] == max(len(e.answer) for e in some) + 1
    assert tokens[False] == max(len(e.english) for e in some if e.row.connected) + max(len(e.prompt) for e in some) - 1


def test_known_english_activations_save_the_english_pass_and_change_nothing() -> None:
    _, frozen = both(tiny_llama())
    some = [e for e in examples() if e.row.connected]
    known = precompute_english(frozen, some, 0)
    runs: list[int] = []
    frozen.language_model.model.register_forward_hook(lambda *_: runs.append(1))
    batch = batch_of(some)
    expected, found = outcome(frozen, **batch), outcome(frozen, **batch, english_activations=known)
    assert len(runs) == 3 + 2
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-3, atol=1e-6)
