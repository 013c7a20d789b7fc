"""What is read from a transformers model is what its FFN blocks add to the residual stream, at the anchor only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from cc_core.architectures import FAMILIES, UnsupportedArchitectureError, base_architecture
from cc_train.data.batches import pad_right
from cc_train.model.activations import anchor_positions, capture_at, connected_at
from tests.support.tiny import HIDDEN, tiny_gemma3, tiny_llama, tiny_model

TWO_FAMILIES = pytest.mark.parametrize(
    ("make", "before_ffn"),
    [(tiny_llama, "post_attention_layernorm"), (tiny_gemma3, "pre_feedforward_layernorm")],
    ids=["llama", "gemma3"],
)
PROMPTS = [[1, 9, 30, 41, 5], [1, 7], [1, 99, 98, 97, 96, 95, 94, 93]]


@TWO_FAMILIES
def test_contributions_are_the_steps_of_the_residual_stream(make: Callable, before_ffn: str) -> None:
    model = make()
    ids = torch.tensor([PROMPTS[0]])
    residual: list[torch.Tensor] = []
    for layer in model.model.layers:
        # The norm before the FFN reads the residual stream, to which the FFN block then adds.
        getattr(layer, before_ffn).register_forward_pre_hook(lambda _m, args: residual.append(args[0]))
    after: list[torch.Tensor] = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _m, _a, out: after.append(out[0] if isinstance(out, tuple) else out))
    with torch.inference_mode(), capture_at(model, torch.tensor([4])) as capture:
        embedded = model(ids, output_hidden_states=True).hidden_states[0]
    for layer, contribution in enumerate(capture.activations[0]):
        torch.testing.assert_close(contribution, (after[layer] - residual[layer])[0, 4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(capture.embedding[0], embedded[0, 4])


@TWO_FAMILIES
def test_padding_changes_nothing(make: Callable, before_ffn: str) -> None:
    model = make()
    ids, mask = pad_right([torch.tensor(p).numpy() for p in PROMPTS], 0)
    with torch.inference_mode(), capture_at(model, anchor_positions(mask, -1)) as together:
        model(input_ids=ids, attention_mask=mask)
    for i, prompt in enumerate(PROMPTS):
        with torch.inference_mode(), capture_at(model, torch.tensor([len(prompt) - 1])) as alone:
            model(torch.tensor([prompt]))
        torch.testing.assert_close(together.activations[i], alone.activations[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.embedding[i], alone.embedding[0])


@TWO_FAMILIES
def test_the_vector_is_added_once_where_layer_0s_ffn_adds(make: Callable, before_ffn: str) -> None:
    model = make()
    ids, vector = torch.tensor([PROMPTS[0], PROMPTS[0]]), torch.randn(2, HIDDEN)
    positions = torch.tensor([2, 4])
    with torch.inference_mode():
        plain = model(ids, output_hidden_states=True).hidden_states[1]
        with connected_at(model, positions, vector):
            connected = model(ids, output_hidden_states=True).hidden_states[1]
    expected = plain.clone()
    expected[[0, 1], [2, 4]] += vector
    torch.testing.assert_close(connected, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.shows("full")
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_family_adds_what_is_captured(architecture: str) -> None:
    """Without layer 0's feed-forward block, its output lacks the contribution; the connection adds its vector to it."""
    model = tiny_model(architecture)
    ids, position, vector = torch.tensor([PROMPTS[0]]), torch.tensor([3]), torch.randn(1, HIDDEN)
    first = model.model.layers[0]

    def passes(*hooks: AbstractContextManager[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """What goes into layer 0 and what comes out."""
        seen: list[torch.Tensor] = []

        def hook(_module: object, args: tuple[torch.Tensor, ...], output: Any) -> None:
            seen.extend([args[0], output[0] if isinstance(output, tuple) else output])

        with torch.inference_mode(), ExitStack() as stack:
            stack.callback(first.register_forward_hook(hook).remove)
            for context in hooks:
                stack.enter_context(context)
            model(ids)
        return seen[0], seen[1]

    def nothing(_module: object, _args: object, output: Any) -> Any:
        return tuple(0 * part for part in output) if isinstance(output, tuple) else 0 * output

    @contextmanager
    def without_ffn() -> Iterator[None]:
        handle = getattr(first, FAMILIES[architecture].ffn).register_forward_hook(nothing)
        yield
        handle.remove()

    with torch.inference_mode(), capture_at(model, position) as capture:
        model(ids)
    entered, plain = passes()
    _, without = passes(without_ffn())
    _, connected = passes(connected_at(model, position, vector))
    torch.testing.assert_close(capture.embedding[0], entered[0, 3])
    torch.testing.assert_close(capture.activations[0, 0], (plain - without)[0, 3], atol=1e-5, rtol=1e-4)
    expected = plain.clone()
    expected[0, 3] += vector[0]
    torch.testing.assert_close(connected, expected, atol=1e-5, rtol=1e-4)


def test_hooks_are_gone_afterwards_even_after_an_error() -> None:
    model = tiny_llama()

    def hooks(model: PreTrainedModel) -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    positions, before = torch.tensor([1]), hooks(model)
    for context in (capture_at(model, positions), connected_at(model, positions, torch.zeros(1, HIDDEN))):
        with pytest.raises(ZeroDivisionError), context:
            _ = 1 / (hooks(model) <= before)
        assert hooks(model) == before


@given(st.lists(st.integers(3, 12), min_size=1, max_size=5), st.integers(-3, -1), st.booleans())
def test_anchors_are_counted_from_the_prompts_end(lengths: list[int], offset: int, left: bool) -> None:
    longest = max(lengths)
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, longest - length if left else 0 : longest if left else length] = 1
    expected = [(longest if left else length) + offset for length in lengths]
    assert anchor_positions(mask, offset).tolist() == expected


@pytest.mark.parametrize("left", [False, True])
def test_a_prompt_too_short_to_hold_the_anchor_is_refused(left: bool) -> None:
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1] if left else [1, 1, 0, 0]])
    assert anchor_positions(mask, -2).tolist() == ([2, 2] if left else [2, 0])
    with pytest.raises(ValueError, match="a prompt of 2 tokens has no anchor at offset -3"):
        anchor_positions(mask, -3)


def test_architectures_are_a_closed_table() -> None:
    assert base_architecture("CCLlamaForCausalLM") == base_architecture("LlamaForCausalLM") == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("GPT2LMHeadModel", r"'GPT2LMHeadModel' cannot be connected; supported: .*Llama.*; to add one: docs/how-to/"),
        ("Exaone5ForCausalLM", "the nearest supported one is Exaone4ForCausalLM; supported"),
        ("CCQwen3NextForCausalLM", "layers keep a recurrent state"),
        ("GraniteMoeHybridForCausalLM", "layers keep a recurrent state"),
        ("NemotronHForCausalLM", "layers keep a recurrent state"),
        ("MambaForCausalLM", "layers keep a recurrent state"),
    ],
)
def test_others_are_refused_with_the_reason_or_the_nearest(architecture: str, told: str) -> None:
    with pytest.raises(UnsupportedArchitectureError, match=told):
        base_architecture(architecture)
