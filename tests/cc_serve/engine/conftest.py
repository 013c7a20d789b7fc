"""Real vLLM engines over tiny models, in this process so that tests can look inside; one is alive at a time.

They have vLLM's V1 model runner, or V2 where ``VLLM_USE_V2_MODEL_RUNNER=1`` is set: see `tests.support.runners`.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from cc_train.model.reference import Generation, Reference
from tests.support import runners
from tests.support.tally import TALLY
from tests.support.tiny import VOCABULARY, random_connection, save_checkpoint, tiny_llama

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

    from cc_serve.engine.model import ConnectedModelMixin
    from cc_serve.engine.runner_v1 import ConnectedCPUModelRunner
    from cc_serve.engine.scheduler import ConnectionSchedulerMixin


if runners.V2:
    runners.use_triton_on_cpu()

CONNECTIONS = (None, "global", "sw")
BLOCK = 32
BLOCKS = 32
CHUNK = 48
LENGTHS = (1, 2, 20, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * BLOCK, 131)
"""Prompts that end before, on and behind the boundaries of blocks and chunks."""


def prompt(seed: int, length: int) -> tuple[int, ...]:
    """A random prompt."""
    return tuple(random.Random(seed).choices(range(3, VOCABULARY), k=length))


@dataclass(frozen=True)
class Job:
    """One greedy request: prompt token ids, and which connection (None: plain)."""

    prompt: tuple[int, ...]
    connection: str | None
    max_tokens: int = 12
    strength: float = 1.0

    def parameters(self, **options: Any) -> SamplingParams:
        """Greedy ones, unless ``options`` say otherwise."""
        from vllm import SamplingParams

        greedy = {"temperature": 0, "max_tokens": self.max_tokens, "ignore_eos": True, "detokenize": False}
        arguments: dict[str, Any] | None = {"cc_connection": self.connection} if self.connection else None
        if arguments is not None and self.strength != 1:
            arguments["cc_strength"] = self.strength
        return SamplingParams(**greedy | options, extra_args=arguments)


#: The reference's answers by checkpoint, since engines that differ in their schedules alone answer the same jobs.
EXPECTED: defaultdict[Path, dict[Job, Generation]] = defaultdict(dict)


@dataclass
class Engine:
    """A vLLM engine and the reference over the same checkpoint."""

    llm: LLM
    reference: Reference
    checkpoint: Path

    @property
    def scheduler(self) -> ConnectionSchedulerMixin:
        """The one inside."""
        return self.llm.llm_engine.engine_core.engine_core.scheduler

    @property
    def runner(self) -> ConnectedCPUModelRunner:
        """The one inside."""
        return self.llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker.model_runner

    @property
    def model(self) -> ConnectedModelMixin:
        """The one inside."""
        return self.runner.get_model()

    def run(self, jobs: list[Job], **sampling: Any) -> list[RequestOutput]:
        """All jobs at once, greedily unless told otherwise."""
        parameters = [job.parameters(**{"logprobs": 0} | sampling) for job in jobs]
        return self.llm.generate([{"prompt_token_ids": list(j.prompt)} for j in jobs], parameters, use_tqdm=False)

    def expect(self, job: Job) -> Generation:
        """What two passes on transformers answer."""
        expected = EXPECTED[self.checkpoint]
        if job not in expected:
            expected[job] = self.reference.generate(job.prompt, job.connection, job.max_tokens, strength=job.strength)
        return expected[job]

    def check(self, job: Job, output: RequestOutput) -> float:
        """Assert the reference's tokens and layer; return the largest log-probability difference."""
        completion, expected = output.outputs[0], self.expect(job)
        assert list(completion.token_ids) == expected.tokens, (len(job.prompt), job.connection)
        worst = max(
            abs(step[token].logprob - logprob)
            for token, step, logprob in zip(completion.token_ids, completion.logprobs, expected.logprobs, strict=True)
        )
        report = (output.kv_transfer_params or {}).get("cc_connection")
        assert (report and (report["name"], report["layer"])) == (job.connection and (job.connection, expected.layer))
        assert not report or report.get("strength", 1.0) == job.strength
        TALLY.count(len(expected.tokens))
        TALLY.worst = max(TALLY.worst, worst)
        return worst

    def compare(self, jobs: list[Job]) -> float:
        """`check` all jobs, run at once."""
        return max(self.check(job, output) for job, output in zip(jobs, self.run(jobs), strict=True))

    def counter(self, name: str) -> float:
        """A vLLM metric's value, by its Prometheus name."""
        return next(metric.value for metric in self.llm.get_metrics() if metric.name == name)


def _let_vllm_scan_modules() -> None:
    """Let llvmlite's library say that it has no ``__dict__``; it takes every name for a function's.

    Speculation by n-grams loads it. vLLM scans the attributes of what modules hold (``vllm.triton_utils.dispatcher``),
    and so an engine that starts later in the same process would trip over it.
    """
    ffi = sys.modules.get("llvmlite.binding.ffi")
    if ffi is None or not hasattr(ffi.lib, "__dict__"):
        return
    library: Any = type(ffi.lib)
    function_named = library.__getattr__

    def attribute(self: Any, name: str) -> Any:
        if name == "__dict__":
            raise AttributeError(name)
        return function_named(self, name)

    library.__getattr__ = attribute


@contextmanager
def start_engine(checkpoint: Path, *, reference: Reference | None = None, **options: Any) -> Iterator[Engine]:
    """Start vLLM on a checkpoint in fp32, and end it; without a ``reference``, it is the one over the checkpoint."""
    import torch
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    _let_vllm_scan_modules()
    threads = torch.get_num_threads()
    defaults = {"skip_tokenizer_init": True, "dtype": "float32", "max_model_len": 256, "disable_log_stats": False}
    with mock.patch.dict(os.environ, {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}):
        llm = LLM(str(checkpoint), **defaults | options)
        try:
            yield Engine(llm, reference or Reference.from_checkpoint(checkpoint), checkpoint)
        finally:
            # By hand: a failed test's traceback keeps the engine, whose late end would take the next one's groups.
            llm.llm_engine.engine_core.shutdown()
            del llm
            gc.collect()
            cleanup_dist_env_and_memory()
            torch.set_num_threads(threads)  # vLLM serves with fewer, and sums in another order train other bytes


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """vLLM's CPU platform writes to the environment; the servers of other tests must not inherit that."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny-llama")
    return save_checkpoint(directory, tiny_llama(), random_connection(["global", "sw"]), ["de", "sw"])


@contextmanager
def start_small_engine(checkpoint: Path, **options: Any) -> Iterator[Engine]:
    """Eager, with chunks smaller than prompts, a KV cache too small for all, and two slots for sixteen requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cc_serve.engine.config.MAX_SLOTS", 2)
        small = {"block_size": BLOCK, "max_num_batched_tokens": CHUNK, "num_gpu_blocks_override": BLOCKS}
        with start_engine(checkpoint, **{"enforce_eager": True, "max_num_seqs": 16} | small | options) as engine:
            yield engine


@contextmanager
def async_scheduling() -> Iterator[None]:
    """Engines that start meanwhile with ``async_scheduling`` keep it, though vLLM's CPU platform turns it off."""
    from vllm.platforms.cpu import CpuPlatform

    stock = CpuPlatform.check_and_update_config.__func__

    def keep_async(cls: type, vllm_config: Any) -> None:
        stock(cls, vllm_config)
        vllm_config.scheduler_config.async_scheduling = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuPlatform, "check_and_update_config", classmethod(keep_async))
        yield


def assert_async(engine: Engine) -> None:
    """It schedules the next step while one runs."""
    from cc_serve.engine.scheduler import ConnectedAsyncScheduler

    assert type(engine.scheduler) is ConnectedAsyncScheduler
    assert engine.llm.llm_engine.engine_core.engine_core.batch_queue_size == 2


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Iterator[Engine]:
    with start_small_engine(tiny_checkpoint) as engine:
        yield engine
