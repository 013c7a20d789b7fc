"""Every supported family against the reference, each with a tiny random model."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_core.architectures import FAMILIES
from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, LENGTHS, Job, prompt, start_engine
from tests.support.tiny import random_connection, save_checkpoint, tiny_model


@pytest.fixture(autouse=True)
def _transformers_classes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where vLLM runs the layers of transformers, it makes their class compilable, which the reference has, too.

    Nothing is compiled here. An engine in a process of its own would take most of the test's time to start.
    """
    from vllm.model_executor.models.transformers.base import Base

    monkeypatch.setattr(Base, "_decorate_for_torch_compile", lambda self: None)


@pytest.mark.shows("served")
@pytest.mark.parametrize("architecture", sorted(FAMILIES))
def test_family(architecture: str, tmp_path: Path) -> None:
    names = [name for name in CONNECTIONS if name]
    checkpoint = save_checkpoint(tmp_path, tiny_model(architecture), random_connection(names), ["sw"])
    with start_engine(
        checkpoint, enforce_eager=True, block_size=BLOCK, max_num_seqs=16, max_num_batched_tokens=CHUNK
    ) as engine:
        jobs = [Job(prompt(length, length), name) for length in LENGTHS[::3] for name in CONNECTIONS]
        assert engine.compare(jobs) < 1e-3
        answers = {tuple(engine.expect(job).tokens) for job in jobs}
        assert len(answers) > len(jobs) / 2  # the connections matter
