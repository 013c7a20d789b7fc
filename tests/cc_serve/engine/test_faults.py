"""What goes wrong with one request ends that request, with its reason, and no other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm import RequestOutput
from vllm.exceptions import VLLMValidationError
from vllm.v1.core.sched.output import SchedulerOutput

from cc_serve.engine.marks import ConnectionMarks
from cc_serve.engine.model import ConnectedModelMixin
from tests.cc_serve.engine.conftest import BLOCKS, CONNECTIONS, Engine, Job, prompt, start_small_engine
from tests.support.tiny import VOCABULARY, random_connection, save_checkpoint, tiny_gemma3

GOOD = Job(prompt(800, 40), "sw")


def test_an_unknown_connection_is_refused_by_name_where_requests_are_admitted(engine: Engine) -> None:
    with pytest.raises(
        VLLMValidationError, match="'xx' is not one of this checkpoint's connections: global, sw"
    ) as error:
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
    assert "'xx' is not one of" in refused.outputs[0].stop_reason
    assert not refused.outputs[0].token_ids
    assert list(answered.outputs[0].token_ids) == engine.expect(GOOD).tokens


NEIGHBOURS = [Job(prompt(810 + n, n), connection) for n in (1, 31, 60) for connection in (None, "global")]


def assert_refused(output: RequestOutput) -> None:
    assert output.outputs[0].finish_reason == "error"
    assert re.fullmatch("connection 'sw' came out infinite or NaN .* off .* --dtype .*", output.outputs[0].stop_reason)
    assert not output.outputs[0].token_ids


def run_beside_nan(engine: Engine, connection: str | None) -> list[RequestOutput]:
    """A request that begins with a token whose embedding is NaN, as its activations are then, and its neighbours."""
    read = {token for job in NEIGHBOURS for token in (*job.prompt, *engine.expect(job).tokens)}
    token = min(set(range(VOCABULARY)) - read)
    embedding = engine.model.model.embed_tokens.weight.data[token]
    before = embedding.clone()
    embedding.fill_(torch.nan)
    try:
        return engine.run([Job((token, *GOOD.prompt[1:]), connection), *NEIGHBOURS])
    finally:
        embedding.copy_(before)


def clear_cache(engine: Engine) -> None:
    """Have no NaN left in it."""
    engine.llm.reset_prefix_cache()
    for blocks in engine.runner.kv_caches:
        blocks.zero_()


def test_a_token_without_finite_activations_ends_its_own_request(engine: Engine) -> None:
    refused, *answered = run_beside_nan(engine, "sw")
    clear_cache(engine)
    assert_refused(refused)
    for job, output in zip(NEIGHBOURS, answered, strict=True):
        assert engine.check(job, output) < 1e-3
    assert engine.compare([GOOD]) < 1e-3


@pytest.mark.parametrize("connection", [None, "sw"])
def test_blocks_that_held_nan_are_as_good_as_others(engine: Engine, connection: str | None) -> None:
    # As many as there are blocks for.
    later = [Job(prompt(830 + n, 100), CONNECTIONS[n % 3], max_tokens=20) for n in range(BLOCKS // 4)]
    try:
        run_beside_nan(engine, connection)
        assert engine.compare(later) < 1e-3
    finally:
        clear_cache(engine)


def test_an_infinite_activation_ends_its_own_request(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = ConnectedModelMixin.decide

    def poisoned(model: Any, slots: Sequence[int], names: Sequence[str], *others: Any) -> torch.Tensor:
        for slot, name in zip(slots, names, strict=True):
            if name == "sw":
                model._ffn_outputs[1].cc_activations[slot, 3] = torch.inf
        return decide(model, slots, names, *others)

    with monkeypatch.context() as patch:
        patch.setattr(ConnectedModelMixin, "decide", poisoned)
        refused, *answered = engine.run([GOOD, *NEIGHBOURS])
    assert_refused(refused)
    for job, output in zip(NEIGHBOURS, answered, strict=True):
        engine.check(job, output)
    assert engine.compare([GOOD]) < 1e-3


def test_more_anchors_in_one_step_than_slots(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slots, and sixteen prompts of one token, ten of them connected, that all run in the first step."""
    jobs = [Job((10 + index,), name) for index in range(6) for name in CONNECTIONS][:16]
    schedule = engine.scheduler.schedule
    marks: list[ConnectionMarks] = []

    def schedule_and_tell(*args: Any, **kwargs: Any) -> SchedulerOutput:
        output = schedule(*args, **kwargs)
        marks.append(output.connection_marks)
        return output

    monkeypatch.setattr(engine.scheduler, "schedule", schedule_and_tell)
    assert engine.compare(jobs) < 1e-3
    # Those that injected hand their slots to the next: two captures a step, and always fewer that wait.
    assert [len(step.capture) for step in marks[:6]] == [2, 2, 2, 2, 2, 0]
    assert [len(step.waiting) for step in marks[:6]] == [8, 6, 4, 2, 0, 0]


def test_captures_are_counted(engine: Engine) -> None:
    output = engine.run([Job(prompt(820, 60), "sw", max_tokens=2)])[0]
    layer = engine.expect(Job(prompt(820, 60), "sw", max_tokens=2)).layer
    assert output.kv_transfer_params == {"cc_connection": {"name": "sw", "layer": layer, "captures": 1}}


def test_nothing_is_left_behind(engine: Engine) -> None:
    scheduler = engine.scheduler
    assert not scheduler._connected
    assert not scheduler._problems
    assert sorted(scheduler._free_slots) == [0, 1]


def test_no_layer_reads_what_its_blocks_held_before(tmp_path: Path) -> None:
    """Gemma 3 has layers with sliding windows, whose blocks vLLM keeps apart."""
    checkpoint = save_checkpoint(tmp_path, tiny_gemma3(), random_connection(["global", "sw"]), ["sw"])
    with start_small_engine(checkpoint) as engine:
        for blocks in engine.runner.kv_caches:
            blocks[1:].fill_(torch.nan)  # the first is never given to a request
        assert engine.compare([Job(prompt(850 + n, n), CONNECTIONS[n % 3], max_tokens=20) for n in (1, 40, 100)]) < 1e-3
