"""A vLLM engine in a process of its own, for benchmarks that compare several."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

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
        parts: the requests' admission, and then each step of the engine.
        first_token: mean over requests, from their arrival at the engine.
        cached_tokens: of the prompts, found in the prefix cache.
    """

    parts: list[float]
    first_token: float
    cached_tokens: int

    @property
    def seconds(self) -> float:
        """For all of the batch."""
        return sum(self.parts)


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
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import LLM

    global _llm
    _llm = LLM(str(model), **options)


def parameters_of(batch: Batch) -> list[SamplingParams]:
    """Greedy ones that give every request all of its tokens."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return [
        SamplingParams(
            temperature=0,
            max_tokens=batch.max_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args={"cc_connection": connection} if connection else None,
        )
        for connection in batch.connections
    ]


def _generate(batch: Batch) -> Measured:
    parameters = parameters_of(batch)
    engine = _llm.llm_engine
    times = [time.perf_counter()]
    for index, (prompt, parameter) in enumerate(zip(batch.prompts, parameters, strict=True)):
        engine.add_request(f"{times[0]}/{index}", {"prompt_token_ids": prompt}, parameter)
    times.append(time.perf_counter())
    finished = []
    while engine.has_unfinished_requests():
        finished += [output for output in engine.step() if output.finished]
        times.append(time.perf_counter())
    assert all(len(output.outputs[0].token_ids) == batch.max_tokens for output in finished)
    return Measured(
        parts=[end - start for start, end in itertools.pairwise(times)],
        first_token=statistics.fmean(o.metrics.first_token_ts - o.metrics.queued_ts for o in finished),
        cached_tokens=sum(output.num_cached_tokens for output in finished),
    )


def _connection_bytes() -> int:
    return int(_llm.apply_model(lambda model: model.connection_bytes())[0])
