"""The connection over several processes: tensor parallel ranks that share a step, data parallel engines that do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from cc_train.model.files import load_model
from cc_train.model.reference import Reference
from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, Job, prompt, start_engine
from tests.support.tally import TALLY
from tests.support.tiny import gemma3_with_vision, random_connection, save_checkpoint, tiny_model

JOBS = [Job(prompt(800 + n, n), connection) for n in (1, BLOCK, CHUNK, 131) for connection in CONNECTIONS]
OPTIONS: dict[str, Any] = {"enforce_eager": True, "max_num_batched_tokens": CHUNK, "max_num_seqs": 16}

#: One family or two of each kind: the plain row, ranks that reduce late, a norm behind the block, multipliers, experts,
#: and vLLM's backend for transformers' layers. Gemma 3 comes out of a model that also reads images.
OF_EACH_KIND = (
    "LlamaForCausalLM",
    "CohereForCausalLM",
    "Cohere2ForCausalLM",
    "Gemma3ForCausalLM",
    "Exaone4ForCausalLM",
    "GraniteForCausalLM",
    "Qwen3MoeForCausalLM",
    "Olmo2ForCausalLM",
)


@pytest.fixture(autouse=True)
def _two_processes_on_few_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # vLLM would want a NUMA node for each
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.shows("ranks")
@pytest.mark.parametrize("architecture", OF_EACH_KIND)
def test_two_tensor_parallel_ranks(architecture: str, tmp_path: Path) -> None:
    names = [name for name in CONNECTIONS if name]
    model: PreTrainedModel = tiny_model(architecture)
    if architecture == "Gemma3ForCausalLM":
        gemma3_with_vision().save_pretrained(tmp_path / "whole")
        model = load_model(tmp_path / "whole", torch.float32)
    checkpoint = save_checkpoint(tmp_path / "served", model, random_connection(names), ["sw"])
    with start_engine(checkpoint, tensor_parallel_size=2, **OPTIONS) as engine:
        assert engine.compare(JOBS) < 1e-4


def test_two_data_parallel_engines(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    arguments = AsyncEngineArgs(
        str(tiny_checkpoint),
        data_parallel_size=2,
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=256,
        **OPTIONS,
    )

    async def answer(engine: AsyncLLM, index: int, job: Job) -> list[int]:
        rank = index % 2
        async for output in engine.generate(
            {"prompt_token_ids": list(job.prompt)}, job.parameters(), f"{index}", data_parallel_rank=rank
        ):
            last = output
        return list(last.outputs[0].token_ids)

    async def answer_all() -> list[list[int]]:
        engine = AsyncLLM.from_engine_args(arguments)
        try:
            return await asyncio.gather(*(answer(engine, index, job) for index, job in enumerate(JOBS)))
        finally:
            engine.shutdown()

    reference = Reference.from_checkpoint(tiny_checkpoint)
    for job, tokens in zip(JOBS, asyncio.run(answer_all()), strict=True):
        assert tokens == reference.generate(job.prompt, job.connection, job.max_tokens).tokens
        TALLY.count(len(tokens))
