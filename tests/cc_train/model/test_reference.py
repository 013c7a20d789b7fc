"""The oracle itself, against the method written out without caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from cc_core.connection import Connection
from cc_train.model.activations import capture_at, connected_at
from cc_train.model.reference import Reference
from tests.support.tiny import random_connection, save_checkpoint, tiny_gemma3, tiny_llama

PROMPT = [1, 9, 30, 41, 5, 77, 12, 88, 61, 23, 45, 67, 89, 11, 22, 33, 44, 55, 66, 77]
FAMILIES = pytest.mark.parametrize("make", [tiny_llama, tiny_gemma3])


@torch.inference_mode()
def written_out(model: PreTrainedModel, connection: Connection, name: str | None, tokens: int) -> list[int]:
    """Greedy decoding that runs the whole sequence again, both passes, for every token."""
    anchor = torch.tensor([len(PROMPT) + connection.anchor_offset])
    sequence = list(PROMPT)
    for _ in range(tokens):
        ids = torch.tensor([sequence])
        if name is None:
            logits = model(ids).logits
        else:
            with capture_at(model, anchor) as capture:
                model(torch.tensor([PROMPT]))
            decision = connection.decide(name, capture.activations, capture.embedding)
            with connected_at(model, anchor, decision.vector):
                logits = model(ids).logits
        sequence.append(int(logits[0, -1].argmax()))
    return sequence[len(PROMPT) :]


@FAMILIES
@pytest.mark.parametrize("name", [None, "global", "de"])
@pytest.mark.parametrize("offset", [-1, -3])
def test_the_cache_changes_nothing(make: Callable, name: str | None, offset: int) -> None:
    model, connection = make(), random_connection(["global", "de"], anchor_offset=offset)
    generation = Reference(model, connection).generate(PROMPT, name, 8)
    assert generation.tokens == written_out(model, connection, name, 8)
    assert (generation.layer is None) == (name is None)
    assert all(p <= 0 for p in generation.logprobs)


def test_the_connection_changes_the_answer() -> None:
    reference = Reference(tiny_llama(), random_connection(["global", "de"]))
    answers = {name: reference.generate(PROMPT, name, 8).tokens for name in (None, "global", "de")}
    assert len(set(map(tuple, answers.values()))) == 3


def test_generation_ends_with_the_stop_token() -> None:
    reference = Reference(tiny_llama(), random_connection(["global"]))
    tokens = reference.generate(PROMPT, "global", 8).tokens
    stopped = reference.generate(PROMPT, "global", 8, stop=[tokens[3]]).tokens
    assert stopped == tokens[: tokens.index(tokens[3]) + 1]


def test_a_prompt_too_short_to_hold_the_anchor_is_refused() -> None:
    reference = Reference(tiny_llama(), random_connection(["global"], anchor_offset=-3))
    assert reference.generate([1, 9], None, 1).layer is None, "plain generation needs no anchor"
    with pytest.raises(ValueError, match="a prompt of 2 tokens has no anchor at offset -3"):
        reference.generate([1, 9], "global", 1)


@pytest.mark.parametrize("name", [None, "global"])
def test_inputs_are_on_the_models_device_and_not_on_the_default_one(name: str | None) -> None:
    reference = Reference(tiny_llama(), random_connection(["global"]))
    expected = reference.generate(PROMPT, name, 3)
    with torch.device("meta"):
        assert reference.generate(PROMPT, name, 3) == expected


def test_it_loads_from_a_checkpoint(tmp_path: Path) -> None:
    model, connection = tiny_llama(), random_connection(["global"])
    save_checkpoint(tmp_path, model, connection, ["de"])
    loaded = Reference.from_checkpoint(tmp_path).generate(PROMPT, "global", 5)
    expected = Reference(model, connection).generate(PROMPT, "global", 5)
    assert (loaded.tokens, loaded.layer) == (expected.tokens, expected.layer)
    assert loaded.logprobs == pytest.approx(expected.logprobs, abs=1e-4), "eager attention rounds differently"


@FAMILIES
@pytest.mark.parametrize(("name", "offset"), [(None, -1), ("global", -1), ("global", -3)])
def test_its_own_answer_has_the_best_score(make: Callable, name: str | None, offset: int) -> None:
    reference = Reference(make(), random_connection(["global"], anchor_offset=offset))
    answer = reference.generate(PROMPT, name, 8)
    score = reference.score(PROMPT, name, answer.tokens, answer.layer)
    assert (score.layer, score.layer_gap) == (answer.layer, 0)
    assert score.logprobs == score.best == pytest.approx(answer.logprobs, abs=1e-4)


def test_another_answer_is_scored_after_the_tokens_before_it() -> None:
    reference = Reference(tiny_llama(), random_connection(["global"]))
    best = reference.generate(PROMPT, "global", 8)
    other = [*best.tokens[:4], (best.tokens[4] + 1) % 128, *best.tokens[5:]]
    score = reference.score(PROMPT, "global", other)
    assert score.logprobs[:4] == score.best[:4] == pytest.approx(best.logprobs[:4], abs=1e-4)
    assert score.logprobs[4] < score.best[4] == pytest.approx(best.logprobs[4], abs=1e-4)
    assert score.best[5:] != pytest.approx(best.logprobs[5:], abs=1e-3)


def test_another_layer_can_be_connected() -> None:
    reference = Reference(tiny_llama(), random_connection(["global"]))
    answer = reference.generate(PROMPT, "global", 8)
    assert answer.layer is not None
    scores = [reference.score(PROMPT, "global", answer.tokens, layer) for layer in range(4)]
    assert {score.layer for score in scores} == {answer.layer}
    assert [score.layer_gap > 0 for score in scores] == [layer != answer.layer for layer in range(4)]
    assert max(score.layer_gap for score in scores) == pytest.approx(1)
    assert len({tuple(score.logprobs) for score in scores}) == 4
