"""What we add to the method: normalising, which changes no choice, and the projection, which serving does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_core.checkpoint import load_connection
from cc_core.connection import Connection, chosen_activation
from cc_train.commands.main import main
from cc_train.fit.pairs import capture_pairs
from cc_train.model.projection import PROJECTION_FILE, load_projection
from cc_train.two_pass.extensions import ExtendedDecisionMaker, initial_projection
from tests.support.made_pairs import pair
from tests.support.tiny import HIDDEN, LAYERS, tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


@pytest.fixture
def activations() -> torch.Tensor:
    """Layers of very different size, each mostly the same for all prompts, ``[N, L, H]``."""
    generator = torch.Generator().manual_seed(0)
    shared = 10 * torch.randn(LAYERS, HIDDEN, generator=generator)
    own = torch.randn(200, LAYERS, HIDDEN, generator=generator)
    return (shared + own) * 10.0 ** torch.arange(LAYERS)[:, None]


def normal(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_normalising_changes_no_choice(seed: int, scale: float) -> None:
    activations, embedding = normal(3, 5, 16, seed=seed, scale=scale), normal(3, 16, seed=seed + 1, scale=scale)
    plain, normalised = ExtendedDecisionMaker(5, 16, normalize=False), ExtendedDecisionMaker(5, 16, normalize=True)
    normalised.load_state_dict(plain.state_dict())
    raw, scaled = plain(activations, embedding), normalised(activations, embedding)
    chosen = scaled.argmax(dim=-1, keepdim=True)
    assert torch.all(raw.gather(-1, chosen)[:, 0] >= raw.amax(dim=-1) - 1e-5 * raw.abs().amax())
    assert scaled.abs().max() < 50, "logits stay on the scale of the Gumbel noise, whatever the activations'"


def test_what_all_prompts_share_is_left_out_and_the_rest_has_the_size(activations: torch.Tensor) -> None:
    projected = activations @ initial_projection(activations, 0.5)
    assert projected.square().mean().sqrt() == pytest.approx(0.5, rel=1e-4)
    shared = projected.mean(dim=0).norm(dim=-1)
    assert (shared < 0.2 * projected.norm(dim=-1).mean(dim=0)).all()
    assert (
        activations.mean(dim=0).norm(dim=-1) > 5 * (activations - activations.mean(dim=0)).norm(dim=-1).mean(0)
    ).all()


def test_equal_prompts_leave_nothing_to_connect(activations: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="the activations of 3 prompts do not differ"):
        initial_projection(activations[:1].expand(3, -1, -1), 1.0)


def test_serving_the_projection_as_a_transform_matrix_is_what_training_did(activations: torch.Tensor) -> None:
    torch.manual_seed(0)
    decision = ExtendedDecisionMaker(LAYERS, HIDDEN, projection=initial_projection(activations, 0.5))
    assert decision.mixing is not None
    torch.nn.init.normal_(decision.mixing.weight, std=0.1)  # as if trained
    embedding = torch.randn(len(activations), HIDDEN)
    trained = decision.project(activations)
    layer = decision(trained, embedding).argmax(dim=-1)
    vector = chosen_activation(torch.nn.functional.one_hot(layer, LAYERS), trained)

    assert decision.projection is not None
    served = Connection(decision.weight, {"global": decision.projection}).decide("global", activations, embedding)
    assert torch.equal(served.layer, layer)
    assert len(layer.unique()) > 1
    torch.testing.assert_close(served.vector, vector, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ExtendedDecisionMaker.from_state(decision.state_dict()).projection, decision.projection)


def test_the_projection_is_trained(activations: torch.Tensor) -> None:
    decision = ExtendedDecisionMaker(LAYERS, HIDDEN, projection=initial_projection(activations, 0.5))
    decision.project(activations).sum().backward()
    assert decision.mixing is not None
    assert decision.mixing.weight.grad is not None
    assert decision.mixing.weight.grad.abs().sum() > 0


def test_a_fit_is_onto_projected_english_activations() -> None:
    model, some = tiny_llama().eval(), [pair("de", i) for i in range(3)]
    matrix = torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(0))
    raw, projected = next(capture_pairs(model, some, 0)), next(capture_pairs(model, some, 0, projection=matrix))
    assert torch.equal(projected.source, raw.source)
    torch.testing.assert_close(projected.target, raw.target @ matrix)
    torch.testing.assert_close(projected.projected, raw.source @ matrix)


@pytest.mark.training
def test_a_run_keeps_its_projection_for_another_fit(tmp_path: Path) -> None:
    base = save_base(tmp_path / "tiny", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows())
    given = ["--model", str(base), "--data", str(rows), "--use-cpu", "--disable-tqdm", "true", "--max-steps", "2"]
    scale = ["--connection-scale", "0.01", "--fit-ridge", "1e-6", "--fit-shrinkage", "inf"]
    output = tmp_path / "out"
    assert main(["run", *given, *scale, "--output", str(output)]) == 0
    weights = {path.name for path in output.glob("*.safetensors")}
    assert weights == {"model.safetensors", "cc_connection.safetensors"}, "vLLM loads all of them into the model"
    before = load_connection(output)[0].transforms["global"]
    matrix = load_projection(output)
    assert matrix is not None
    assert matrix.shape == (HIDDEN, HIDDEN)
    again = ["--use-cpu", "--disable-tqdm", "true", "--fit-ridge", "1e-6", "--fit-shrinkage", "inf"]
    assert main(["fit", str(output), "--data", str(rows), *again]) == 0
    after = load_connection(output)[0].transforms["global"]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-5)
    (output / PROJECTION_FILE).write_bytes(b"{}")
    assert main(["fit", str(output), "--data", str(rows), *again]) == 2
