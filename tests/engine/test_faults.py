"""What goes wrong with one request ends that request, with its reason, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from vllm.exceptions import VLLMValidationError

from cc_serve.engine.model import ConnectedModelMixin
from tests.engine.conftest import Engine, Job, prompt

GOOD = Job(prompt(800, 40), "sw")


def test_an_unknown_connection_is_refused_by_name_where_requests_are_admitted(engine: Engine) -> None:
    with pytest.raises(VLLMValidationError, match="'xx' is none of this checkpoint's connections: global, sw") as error:
        engine.run([Job(GOOD.prompt, "xx")])
    assert error.value.parameter == "cc_connection"


def test_an_unknown_connection_that_was_admitted_ends_with_an_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = engine.llm.llm_engine.input_processor
    monkeypatch.setattr(admission, "validate_logits_processors_params", lambda parameters: None)
    engine.run([Job(GOOD.prompt, None)])  # so that the refused request meets a prefix cache hit too
    refused, answered = engine.run([Job(GOOD.prompt, "xx"), GOOD])
    assert refused.outputs[0].finish_reason == "error"
    assert "'xx' is none of" in refused.outputs[0].stop_reason
    assert not refused.outputs[0].token_ids
    assert list(answered.outputs[0].token_ids) == engine.expect(GOOD).tokens


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_end_their_own_request(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    decide = ConnectedModelMixin.decide

    def poisoned(model: Any, slots: Sequence[int], names: Sequence[str]) -> torch.Tensor:
        for slot, name in zip(slots, names, strict=True):
            if name == "sw":
                model._ffn_outputs[1].cc_activations[slot, 3] = poison
        return decide(model, slots, names)

    neighbours = [Job(prompt(810 + n, n), connection) for n in (1, 31, 60) for connection in (None, "global")]
    with monkeypatch.context() as patch:
        patch.setattr(ConnectedModelMixin, "decide", poisoned)
        refused, *answered = engine.run([GOOD, *neighbours])
    assert refused.outputs[0].finish_reason == "error"
    assert refused.outputs[0].stop_reason == "the connection is infinite or NaN"
    assert not refused.outputs[0].token_ids
    for job, output in zip(neighbours, answered, strict=True):
        assert list(output.outputs[0].token_ids) == engine.expect(job).tokens
    assert engine.compare([GOOD]) < 1e-3


def test_captures_are_counted(engine: Engine) -> None:
    output = engine.run([Job(prompt(820, 60), "sw", max_tokens=2)])[0]
    layer = engine.expect(Job(prompt(820, 60), "sw", max_tokens=2)).layer
    assert output.kv_transfer_params == {"cc_connection": {"name": "sw", "layer": layer, "captures": 1}}


def test_nothing_is_left_behind(engine: Engine) -> None:
    scheduler = engine.llm.llm_engine.engine_core.engine_core.scheduler
    assert not scheduler._connected
    assert not scheduler._problems
    assert sorted(scheduler._free_slots) == [0, 1]
