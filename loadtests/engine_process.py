"""A vLLM engine in a process of its own, for benchmarks that compare several."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM

_llm: LLM  # of this process, which serves one engine only


@dataclass(frozen=True)
class Batch:
    """Requests for an engine: prompts, the connection of each or None, and the tokens of each answer."""

    prompts: list[list[int]]
    connections: list[str | None]
    max_tokens: int


@dataclass(frozen=True)
class Measured:
    """What an engine took for a batch; times in seconds.

    Args:
        seconds: for all of it.
        first_token: mean over requests, from their arrival at the engine.
        step: mean time between tokens.
        cached_tokens: of the prompts, found in the prefix cache.
    """

    seconds: float
    first_token: float
    step: float
    cached_tokens: int


class Engine:
    """vLLM in a process of its own, with nothing between it and its caller: a batch arrives at once.

    Args:
        model: directory of the model.
        options: of ``vllm.LLM``.
    """

    def __init__(self, model: Path, options: dict[str, Any]) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _load, (model, options))

    def run(self, batch: Batch) -> Measured:
        return self._process.submit(_generate, batch).result()

    def connection_bytes(self) -> int:
        """Memory that the connection takes in the worker."""
        return self._process.submit(_connection_bytes).result()

    def close(self) -> None:
        self._process.shutdown()


def _load(model: Path, options: dict[str, Any]) -> None:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import LLM

    global _llm
    _llm = LLM(str(model), **options)


def _generate(batch: Batch) -> Measured:
    from vllm import SamplingParams

    parameters = [
        SamplingParams(
            temperature=0,
            max_tokens=batch.max_tokens,
            ignore_eos=True,
            detokenize=False,
            extra_args={"cc_connection": connection} if connection else None,
        )
        for connection in batch.connections
    ]
    start = time.perf_counter()
    outputs = _llm.generate([{"prompt_token_ids": p} for p in batch.prompts], parameters, use_tqdm=False)
    seconds = time.perf_counter() - start
    metrics = [output.metrics for output in outputs]
    return Measured(
        seconds,
        first_token=statistics.fmean(m.first_token_ts - m.queued_ts for m in metrics),
        step=statistics.fmean(m.last_token_ts - m.first_token_ts for m in metrics) / (batch.max_tokens - 1),
        cached_tokens=sum(output.num_cached_tokens for output in outputs),
    )


def _connection_bytes() -> int:
    return int(_llm.apply_model(lambda model: model.connection_bytes())[0])
