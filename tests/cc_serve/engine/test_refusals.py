"""Requests that ask for a connection which they cannot have end with an error that says why, never plain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from vllm.v1.engine import EngineCoreRequest

from tests.cc_serve.engine.conftest import Engine, Job, prompt, start_small_engine
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama

NEIGHBOUR = Job(prompt(900, 40), "sw")
SESSION_REFUSAL = "a streaming-input session cannot be connected"
_session_ids = count()


@pytest.fixture(scope="module")
def early_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With its anchor before the prompt's last token, and prompt embeddings allowed."""
    connection = random_connection(["global", "sw"], anchor_offset=-3)
    directory: Path = save_checkpoint(tmp_path_factory.mktemp("early"), tiny_llama(), connection, ["sw"])
    with start_small_engine(directory, enable_prompt_embeds=True) as engine:
        yield engine


def end_of(engine: Engine, session: str) -> tuple[str | None, str | int | None]:
    """How a session's chunk ended, ``finish_reason`` and ``stop_reason``; the session is closed then."""
    for _ in range(50):
        for output in engine.llm.llm_engine.step():
            if output.request_id == session and (reason := output.outputs[0].finish_reason):
                engine.llm.llm_engine.output_processor.abort_requests([session], internal=True)
                return reason, output.outputs[0].stop_reason
    pytest.fail("the session did not end")


def chunk(engine: Engine, session: str, connection: str | None, *, last: bool = False) -> EngineCoreRequest:
    """A part of a streaming-input session, as `AsyncLLM` makes them."""
    request = engine.llm.llm_engine.input_processor.process_inputs(
        session,
        {"prompt_token_ids": list(prompt(901, 20))},
        Job((), connection, max_tokens=4).parameters(),
        engine.llm.llm_engine.get_supported_tasks(),
        resumable=not last,
    )
    request.external_req_id = session
    return request


def add(engine: Engine, request: EngineCoreRequest) -> None:
    """As `AsyncLLM` adds it: a chunk keeps its session's id."""
    engine.llm.llm_engine.output_processor.add_request(request, None, None, 0)
    engine.llm.llm_engine.engine_core.add_request(request)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_session_that_turns_to_a_connection_is_refused(early_engine: Engine, steps: int) -> None:
    session = f"session-{next(_session_ids)}"
    add(early_engine, chunk(early_engine, session, None))
    for _ in range(steps):
        early_engine.llm.llm_engine.step()
    add(early_engine, chunk(early_engine, session, "sw"))
    assert end_of(early_engine, session) == ("error", SESSION_REFUSAL)


def test_a_connected_session_is_refused(early_engine: Engine) -> None:
    session = f"session-{next(_session_ids)}"
    add(early_engine, chunk(early_engine, session, "sw"))
    assert end_of(early_engine, session) == ("error", SESSION_REFUSAL)


def test_prompt_embeddings_are_refused(early_engine: Engine) -> None:
    hidden_size = early_engine.reference.model.config.hidden_size
    job = Job((), "sw")
    refused, plain = early_engine.llm.generate(
        [{"prompt_embeds": torch.randn(20, hidden_size)}] * 2,
        [job.parameters(), Job((), None).parameters()],
        use_tqdm=False,
    )
    assert refused.outputs[0].finish_reason == "error"
    assert refused.outputs[0].stop_reason == "prompt embeddings cannot be connected"
    assert len(plain.outputs[0].token_ids) == job.max_tokens


def test_prompt_log_probabilities_behind_the_anchor_are_refused(early_engine: Engine) -> None:
    refused = early_engine.run([NEIGHBOUR], prompt_logprobs=1)[0]
    assert refused.outputs[0].finish_reason == "error"
    assert refused.outputs[0].stop_reason == "prompt_logprobs need an anchor at the prompt's last token"


def test_a_prompt_without_an_anchor_is_refused(early_engine: Engine) -> None:
    refused, answered = early_engine.run([Job(prompt(902, 2), "sw"), NEIGHBOUR])
    assert refused.outputs[0].stop_reason == "a prompt of 2 tokens has no anchor at offset -3"
    assert list(answered.outputs[0].token_ids) == early_engine.expect(NEIGHBOUR).tokens


def test_afterwards_nothing_is_left(early_engine: Engine) -> None:
    scheduler = early_engine.llm.llm_engine.engine_core.engine_core.scheduler
    assert early_engine.compare([NEIGHBOUR]) < 1e-3
    assert not scheduler._connected
    assert not scheduler._problems
    assert not scheduler.requests
    assert sorted(scheduler._free_slots) == [0, 1]
