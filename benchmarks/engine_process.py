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

from cc_core.names import OFF
from cc_serve import connected, connection_of

if TYPE_CHECKING:
    from torch import nn
    from vllm import LLM, SamplingParams
    from vllm.outputs import RequestOutput

_llm: LLM  # the one engine of this process


@dataclass(frozen=True)
class Batch:
    """Requests that arrive together.

    Args:
        prompts: token ids of each.
        connections: name of each request's connection; None for plain.
        max_tokens: length of each answer.
        strength: of the connections.
    """

    prompts: list[list[int]]
    connections: list[str | None]
    max_tokens: int
    strength: float = 1.0


@dataclass(frozen=True)
class Measured:
    """How long an engine took for a batch.

    Args:
        parts: seconds of the requests' admission, and then of each step of the engine.
        first_token: mean seconds from a request's arrival at the engine to its first token.
        cached_tokens: prompt tokens that were found in the prefix cache.
        confirmed: requests whose capture step's token was a draft that was confirmed.
        cpu_seconds: of all the process's threads, which says more than the clock where others compute, too.
    """

    parts: list[float]
    first_token: float
    cached_tokens: int
    confirmed: int = 0
    cpu_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Of the whole batch."""
        return sum(self.parts)


class Engine:
    """A vLLM engine in a process of its own, which takes a whole batch at once.

    Args:
        model: directory of the model.
        options: keyword arguments of ``vllm.LLM``.
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
    """Greedy parameters, by which every answer has all of its tokens."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    plain = SamplingParams(
        temperature=0,
        max_tokens=batch.max_tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    return [connected(plain, connection or OFF, batch.strength) for connection in batch.connections]


def _generate(batch: Batch) -> Measured:
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput

    parameters = parameters_of(batch)
    engine = _llm.llm_engine
    times, begun = [time.perf_counter()], time.process_time()
    for index, (prompt, parameter) in enumerate(zip(batch.prompts, parameters, strict=True)):
        engine.add_request(f"{times[0]}/{index}", TokensPrompt(prompt_token_ids=prompt), parameter)
    times.append(time.perf_counter())
    finished: list[RequestOutput] = []
    while engine.has_unfinished_requests():
        finished += [output for output in engine.step() if isinstance(output, RequestOutput) and output.finished]
        times.append(time.perf_counter())
    cpu_seconds = time.process_time() - begun
    assert all(len(output.outputs[0].token_ids) == batch.max_tokens for output in finished)
    return Measured(
        parts=[end - start for start, end in itertools.pairwise(times)],
        first_token=statistics.fmean(map(_first_token, finished)),
        cached_tokens=sum(output.num_cached_tokens or 0 for output in finished),
        confirmed=sum(map(_confirmed, finished)),
        cpu_seconds=cpu_seconds,
    )


def _first_token(output: RequestOutput) -> float:
    assert output.metrics is not None, "the engine must be made with disable_log_stats=False"
    return float(output.metrics.first_token_ts - output.metrics.queued_ts)


def _confirmed(output: RequestOutput) -> bool:
    return bool((connection_of(output) or {}).get("draft_confirmed"))


def _connection_bytes() -> int:
    from cc_serve.engine.model import ConnectedModelMixin

    def bytes_of(model: nn.Module) -> int:
        assert isinstance(model, ConnectedModelMixin)
        return model.connection_bytes()

    return _llm.apply_model(bytes_of)[0]
