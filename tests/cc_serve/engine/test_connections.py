"""Another connection while the engine runs: each request is answered with the one that it began with, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from vllm import RequestOutput
from vllm.exceptions import VLLMValidationError

from cc_core.checkpoint import load_connection
from cc_core.names import CONNECTION_FILE
from cc_serve.engine.connections import HeldConnections
from cc_train.model.reference import Reference
from tests.cc_serve.engine.conftest import (
    BLOCK,
    CHUNK,
    Engine,
    Job,
    async_scheduling,
    prompt,
    start_small_engine,
)
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama

LENGTHS = (20, BLOCK, CHUNK + 1, 131)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other matrices: one more, and none for ``sw``."""
    connection = random_connection(["global", "de", "fr"], seed=7)
    return save_checkpoint(tmp_path_factory.mktemp("other"), tiny_llama(), connection, ["de", "fr"])


@pytest.fixture(scope="module", params=["sync", "async"])
def engine(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Iterator[Engine]:
    if request.param == "sync":
        with start_small_engine(tiny_checkpoint) as engine:
            yield engine
    else:
        with async_scheduling(), start_small_engine(tiny_checkpoint, async_scheduling=True) as engine:
            yield engine


def call(engine: Engine, method: str, *arguments: str) -> Any:
    return engine.llm.collective_rpc(method, args=arguments)[0]


def digest(checkpoint: Path) -> str:
    return load_connection(checkpoint)[1].sha256


def load(engine: Engine, checkpoint: Path) -> str | None:
    """What is wrong with it, empty if nothing is."""
    call(engine, "load_connection", str(checkpoint), digest(checkpoint))
    while (problem := call(engine, "connection_problem", digest(checkpoint))) is None:
        pass
    return problem


@contextmanager
def served(engine: Engine, other: Path) -> Iterator[None]:
    """``other`` is served meanwhile, and the engine's own is held."""
    assert load(engine, other) == ""
    call(engine, "serve_connection", digest(other))
    try:
        yield
    finally:
        call(engine, "serve_connection", digest(engine.checkpoint))
        call(engine, "drop_connection", digest(other))


def add(engine: Engine, name: str, job: Job, checkpoint: Path) -> None:
    parameters = job.parameters(logprobs=0)
    parameters.extra_args = {**(parameters.extra_args or {}), "cc_digest": digest(checkpoint)}
    engine.llm.llm_engine.add_request(name, {"prompt_token_ids": list(job.prompt)}, parameters)


def step(engine: Engine) -> dict[str, RequestOutput]:
    """What ended in one step."""
    return {output.request_id: output for output in engine.llm.llm_engine.step() if output.finished}


def finish(engine: Engine) -> dict[str, RequestOutput]:
    done = {}
    while engine.llm.llm_engine.has_unfinished_requests():
        done |= step(engine)
    return done


def of(engine: Engine, other: Path) -> Engine:
    """The same engine, compared with the reference over ``other``."""
    return replace(engine, reference=Reference.from_checkpoint(other), checkpoint=other)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_requests_end_with_the_connection_that_they_began_with(engine: Engine, other: Path, steps: int) -> None:
    """Before the change, during it and after it; preempted, too, so that their anchors are captured once more."""
    before = [Job(prompt(2000 + 10 * steps + n, n), name) for n in LENGTHS for name in ("sw", "global", None)]
    after = [Job(prompt(2500 + 10 * steps + n, n), name) for n in LENGTHS for name in ("de", "global", None)]
    theirs = of(engine, other)
    early = {f"early-{index}": job for index, job in enumerate(before)}
    late = {f"late-{index}": job for index, job in enumerate(after)}
    for name, job in early.items():
        add(engine, name, job, engine.checkpoint)
    done = {}
    for _ in range(steps):
        done |= step(engine)
    with served(engine, other):
        for name, job in late.items():
            add(engine, name, job, other)
        done |= step(engine)
        done |= step(engine)
        assert engine.scheduler.reset_prefix_cache(reset_running_requests=True)  # which preempts them all
        done |= finish(engine)
        for name, job in early.items():
            assert engine.check(job, done[name]) < 1e-3
        for name, job in late.items():
            assert theirs.check(job, done[name]) < 1e-3
    captures = [
        (output.kv_transfer_params or {}).get("cc_connection", {}).get("captures", 0) for output in done.values()
    ]
    assert max(captures) > 1, "a request was captured once more"
    assert any(engine.expect(job).tokens != theirs.expect(job).tokens for job in after if job.connection == "global")
    assert not engine.scheduler._connected


def test_the_prefix_cache_is_shared_up_to_the_anchor_and_not_beyond(engine: Engine, other: Path) -> None:
    job = Job(prompt(2900, 4 * BLOCK + 3), "global")
    theirs, hits = of(engine, other), "vllm:prefix_cache_hits"
    add(engine, "mine", job, engine.checkpoint)
    assert engine.check(job, finish(engine)["mine"]) < 1e-3
    with served(engine, other):
        before = engine.counter(hits)
        add(engine, "theirs", job, other)
        assert theirs.check(job, finish(engine)["theirs"]) < 1e-3
        assert engine.counter(hits) == before + 4 * BLOCK
    add(engine, "mine again", job, engine.checkpoint)
    assert engine.check(job, finish(engine)["mine again"]) < 1e-3
    assert engine.expect(job).tokens != theirs.expect(job).tokens


def test_what_is_not_held_is_refused_and_not_answered_otherwise(engine: Engine, other: Path) -> None:
    neighbour, asked = Job(prompt(2950, 40), "sw"), Job(prompt(2951, 40), "global")
    add(engine, "refused", asked, other)
    add(engine, "answered", neighbour, engine.checkpoint)
    done = finish(engine)
    assert done["refused"].outputs[0].finish_reason == "error"
    assert done["refused"].outputs[0].stop_reason == (
        f"connection 'global' of the file with SHA-256 {digest(other)} is not held any more; send the request again"
    )
    assert engine.check(neighbour, done["answered"]) < 1e-3
    parameters = asked.parameters()
    parameters.extra_args = {"cc_connection": "global", "cc_digest": ["x"]}
    with pytest.raises(VLLMValidationError, match="cc_digest must be the SHA-256 of a connection's file"):
        engine.llm.llm_engine.add_request("odd", {"prompt_token_ids": list(asked.prompt)}, parameters)


def test_a_failed_load_changes_nothing(engine: Engine, other: Path, tmp_path: Path) -> None:
    damaged = save_checkpoint(tmp_path / "damaged", tiny_llama(), random_connection(["global"], seed=9), ["de"])
    tensors = load_file(damaged / CONNECTION_FILE)
    expected = digest(damaged)
    tensors["cc.transform.global"][0, 0] = torch.nan
    save_file(tensors, damaged / CONNECTION_FILE)
    call(engine, "load_connection", str(damaged), expected)
    while (problem := call(engine, "connection_problem", expected)) is None:
        pass
    assert "tensor 'cc.transform.global' holds NaN" in problem
    call(engine, "load_connection", str(other), expected)
    while (problem := call(engine, "connection_problem", expected)) is None:
        pass
    assert problem == f"{other}: was changed while it was being read; try again"
    with pytest.raises(ValueError, match="is not loaded"):
        call(engine, "serve_connection", expected)
    assert engine.compare([Job(prompt(2960, 40), "sw")]) < 1e-3


def test_the_device_has_one_connection_at_a_time(engine: Engine, other: Path) -> None:
    matrix = random_connection(["global"]).transforms["global"].numel() * 4
    before = engine.model.connection_bytes()
    with served(engine, other):
        assert engine.model.connection_bytes() == before + matrix, "three matrices instead of two"
    assert engine.model.connection_bytes() == before


def test_weights_that_are_loaded_again_leave_what_is_served(engine: Engine, other: Path) -> None:
    job = Job(prompt(2970, 40), "global")
    theirs = of(engine, other)
    with served(engine, other):
        call(engine, "reload_weights")
        add(engine, "theirs", job, other)
        add(engine, "mine", job, engine.checkpoint)
        done = finish(engine)
        assert theirs.check(job, done["theirs"]) < 1e-3
        assert engine.check(job, done["mine"]) < 1e-3
    assert engine.compare([job]) < 1e-3


def test_what_the_device_lost_is_restored() -> None:
    first, second = (random_connection(["global"], seed=seed) for seed in (4, 5))
    held = HeldConnections("0f", first, torch.device("cpu"))
    held["0f"].transforms["global"].zero_()
    held.restore("0f", first)
    assert torch.equal(held["0f"].transforms["global"], first.transforms["global"])
    held.restore("1f", second)
    assert not held.holds("1f", "global"), "nobody serves it"


def test_what_is_held_does_not_follow_the_file(tmp_path: Path) -> None:
    directory = save_checkpoint(tmp_path, tiny_llama(), random_connection(["global"], seed=3), ["de"])
    first = random_connection(["global"], seed=4)
    held = HeldConnections("0f", first, torch.device("cpu"))
    sha256 = digest(directory)
    held.begin_loading(directory, sha256)
    while held.problem(sha256) is None:
        pass
    file = directory / CONNECTION_FILE
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    first.transforms["global"].zero_()
    held.serve(sha256)
    assert torch.equal(held[sha256].transforms["global"], random_connection(["global"], seed=3).transforms["global"])
    assert torch.equal(held["0f"].transforms["global"], random_connection(["global"], seed=4).transforms["global"])
    held.drop("0f")
    assert not held.holds("0f", "global")
    held.drop(sha256)
    assert held.holds(sha256, "global"), "what is served stays"
