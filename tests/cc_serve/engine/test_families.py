"""Every supported family against the reference, each with a tiny random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_core.architectures import FAMILIES
from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, LENGTHS, Job, prompt, start_engine
from tests.support.tiny import random_connection, save_checkpoint, tiny_model

#: vLLM has no class of its own for these.
ONLY_IN_TRANSFORMERS = ("Olmo2ForCausalLM", "Olmo3ForCausalLM", "SeedOssForCausalLM", "SmolLM3ForCausalLM")


@pytest.mark.shows("served")
@pytest.mark.parametrize("architecture", sorted(FAMILIES))
def test_family(architecture: str, tmp_path: Path) -> None:
    names = [name for name in CONNECTIONS if name]
    checkpoint = save_checkpoint(tmp_path, tiny_model(architecture), random_connection(names), ["sw"])
    options: dict[str, Any] = {"block_size": BLOCK, "max_num_seqs": 16, "max_num_batched_tokens": CHUNK}
    inside = architecture not in ONLY_IN_TRANSFORMERS
    with start_engine(checkpoint, inside=inside, enforce_eager=True, **options) as engine:
        jobs = [Job(prompt(length, length), name) for length in LENGTHS[::3] for name in CONNECTIONS]
        assert engine.compare(jobs) < 1e-3
        answers = {tuple(engine.expect(job).tokens) for job in jobs}
        assert len(answers) > len(jobs) / 2  # the connections matter
