"""The method's equations, each held against a plain restatement."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_core.connection import (
    Connection,
    DecisionMaker,
    best_layer,
    chosen_activation,
    connect,
    decision_logits,
    sample_layer,
    transform,
)

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 9)


def normal(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(seeds, sizes, sizes, sizes)
def test_decide_is_the_paper_written_out(seed: int, batch: int, layers: int, hidden: int) -> None:
    """``k = argmax W (mean_l(a_l T) + e)``, and the vector is ``a_k T``: every layer transformed, none skipped."""
    weight, transform = normal(layers, hidden, seed=seed), normal(hidden, hidden, seed=seed + 1)
    activations, embedding = normal(batch, layers, hidden, seed=seed + 2), normal(batch, hidden, seed=seed + 3)
    decision = Connection(weight, {"global": transform}).decide("global", activations, embedding)

    for b in range(batch):
        transformed = [activations[b, layer] @ transform for layer in range(layers)]
        d = torch.stack(transformed).mean(dim=0) + embedding[b]
        logits = weight @ d
        chosen = int(decision.layer[b])
        assert logits[chosen] >= logits.max() - 1e-4 * logits.abs().max()
        torch.testing.assert_close(decision.vector[b], transformed[chosen], rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.sampled_from(["global", "de", "ja"]), min_size=1, max_size=6))
def test_each_row_of_a_batch_gets_its_own_matrix(seed: int, names: list[str]) -> None:
    matrices = {name: normal(8, 8, seed=seed + i) for i, name in enumerate(["global", "de", "ja"])}
    connection = Connection(normal(4, 8, seed=seed), matrices)
    activations, embedding = normal(len(names), 4, 8, seed=seed + 7), normal(len(names), 8, seed=seed + 8)
    together = connection.decide_each(names, activations, embedding)
    for i, name in enumerate(names):
        alone = connection.decide(name, activations[i : i + 1], embedding[i : i + 1])
        assert together.layer[i] == alone.layer[0]
        torch.testing.assert_close(together.vector[i], alone.vector[0])


def test_the_decision_maker_is_fp32_and_has_no_bias() -> None:
    decision = DecisionMaker(5, 16)
    assert [(n, p.dtype, tuple(p.shape)) for n, p in decision.named_parameters()] == [
        ("weight", torch.float32, (5, 16))
    ]
    assert decision(normal(2, 5, 16, seed=0).bfloat16(), normal(2, 16, seed=1).bfloat16()).dtype == torch.float32


def test_the_decision_maker_sees_the_mean_activation_and_the_embedding() -> None:
    decision, activations, embedding = DecisionMaker(5, 16), normal(2, 5, 16, seed=0), normal(2, 16, seed=1)
    expected = (activations.mean(dim=1) + embedding) @ decision.weight.T
    torch.testing.assert_close(decision(activations, embedding), expected)


def test_serving_transforms_in_fp32_and_chooses_without_noise() -> None:
    activations, matrix = normal(3, 4, 8, seed=0).bfloat16(), normal(8, 8, seed=1)
    assert torch.equal(transform(activations, matrix), activations.float() @ matrix)
    assert torch.equal(best_layer(torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])), torch.tensor([1, 0]))


def test_decision_logits_compute_in_fp32() -> None:
    weight, mean, embedding = normal(4, 64, seed=0), normal(2, 64, seed=1), normal(2, 64, seed=2)
    low = decision_logits(weight, mean.bfloat16(), embedding.bfloat16())
    torch.testing.assert_close(low, (mean.bfloat16().float() + embedding.bfloat16().float()) @ weight.T)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.05, 20))
def test_a_sample_is_one_hot_and_does_not_depend_on_the_temperature(seed: int, temperature: float) -> None:
    logits = normal(6, 5, seed=seed)
    torch.manual_seed(seed)
    sample = sample_layer(logits, temperature)
    torch.manual_seed(seed)
    same = sample_layer(logits, 1.0)
    assert torch.equal(sample.sort(dim=-1).values, torch.tensor([0.0] * 4 + [1.0]).expand(6, 5))
    assert torch.equal(sample.argmax(dim=-1), same.argmax(dim=-1))


def test_samples_follow_the_softmax() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0])
    share = sample_layer(logits.expand(20_000, 3)).mean(dim=0)
    torch.testing.assert_close(share, logits.softmax(dim=0), atol=0.02, rtol=0)


def test_the_gradient_passes_straight_through_the_choice() -> None:
    torch.manual_seed(0)
    logits = normal(2, 4, seed=1).requires_grad_()
    activations = normal(2, 4, 8, seed=2).requires_grad_()
    chosen_activation(sample_layer(logits), activations).square().sum().backward()
    assert logits.grad is not None
    assert torch.all(logits.grad.abs().sum(dim=-1) > 0)
    assert activations.grad is not None
    assert torch.equal(activations.grad.abs().sum(dim=-1) > 0, sample_rows(activations.grad))


def sample_rows(gradient: torch.Tensor) -> torch.Tensor:
    """Only one layer of each row was used."""
    used = gradient.abs().sum(dim=-1)
    return used == used.amax(dim=-1, keepdim=True)


def test_chosen_activation_picks_a_row() -> None:
    activations = normal(3, 4, 8, seed=0)
    choice = torch.nn.functional.one_hot(torch.tensor([2, 0, 3]), 4)
    assert torch.equal(chosen_activation(choice, activations), activations[torch.arange(3), torch.tensor([2, 0, 3])])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_connect_adds_in_fp32_and_keeps_the_dtype(dtype: torch.dtype) -> None:
    output, vector = normal(2, 8, seed=0).to(dtype), normal(2, 8, seed=1)
    assert torch.equal(connect(output, vector), (output.float() + vector).to(dtype))
    assert torch.equal(connect(output, torch.zeros(2, 8)), output), "a zero vector is no connection at all"
