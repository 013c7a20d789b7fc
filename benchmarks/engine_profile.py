"""Where a connection's time goes: the seconds a batch spends in each of the connection's methods, and in vLLM's own."""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.engine_batches import Batches, Load, make_parser
from benchmarks.engine_process import parameters_of
from benchmarks.machine import describe_machine, write_report
from cc_serve.process.model_runner import RUNNER

PROMPT_TOKENS = 32

_spent: defaultdict[str, list[float]] = defaultdict(list)  # seconds of each call, by method


def _time(cls: type, name: str, label: str) -> None:
    method = getattr(cls, name)

    @functools.wraps(method)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            _spent[label].append(time.perf_counter() - start)

    setattr(cls, name, timed)


def _instrument() -> None:
    """Time the connection's methods, and vLLM's methods that they override."""
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner
    from vllm.v1.worker.gpu_worker import Worker

    from cc_serve.engine.model import ConnectedModelMixin
    from cc_serve.engine.runner_v1 import ConnectionRunnerMixin
    from cc_serve.engine.scheduler import ConnectionSchedulerMixin
    from cc_serve.engine.worker import ConnectedWorkerMixin

    for base, mixin, names in (
        (Scheduler, ConnectionSchedulerMixin, ("add_request", "_update_after_schedule", "update_from_output")),
        (GPUModelRunner, ConnectionRunnerMixin, ("_prepare_inputs",)),
        (Worker, ConnectedWorkerMixin, ("execute_model", "sample_tokens")),
    ):
        for name in names:
            _time(base, name, f"{name}, vLLM's")
            _time(mixin, name, name)
    _time(ConnectedModelMixin, "decide", "decide, within execute_model")
    _time(ConnectedModelMixin, "set_connection_rows", "set_connection_rows, within _prepare_inputs")


def profile(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a batch spends in each method, as medians over rounds, for plain and for connected batches."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    _instrument()
    from vllm import LLM
    from vllm.inputs import PromptType, TokensPrompt

    llm = LLM(str(options.checkpoint), max_model_len=1024, skip_tokenizer_init=True)
    batches = Batches.for_checkpoint(options.checkpoint, options.concurrency, PROMPT_TOKENS)
    loads = (Load("plain", "", options.max_tokens), Load("connected", "", options.max_tokens, connected=1.0))
    rounds: dict[str, list[dict[str, float]]] = {load.name: [] for load in loads}
    for index in range(-1, options.rounds):
        for load in loads:
            batch = batches.of(load)
            prompts: list[PromptType] = [TokensPrompt(prompt_token_ids=prompt) for prompt in batch.prompts]
            parameters = parameters_of(batch)
            _spent.clear()
            start = time.perf_counter()
            llm.generate(prompts, parameters, use_tqdm=False)
            seconds = time.perf_counter() - start
            if index >= 0:
                rounds[load.name].append({"all": seconds, "steps": len(_spent["_prepare_inputs"])} | _sums())
    return {name: _medians(measured) for name, measured in rounds.items()}


def _sums() -> dict[str, float]:
    return {label: sum(calls) for label, calls in _spent.items()}


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    labels = {label: None for measured in rounds for label in measured}
    return {label: statistics.median(measured.get(label, 0) for measured in rounds) for label in labels}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the profile, and write it."""
    parser = make_parser("engine_profile", __doc__, rounds=7)
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of an answer (default: 64)")
    options = parser.parse_args(arguments)
    if os.environ.setdefault(RUNNER, "0") != "0":
        parser.error(f"it looks into vLLM's V1 model runner: unset {RUNNER}")
    measured = profile(options)
    write_report(options.output, {"machine": describe_machine(), "batch": measured})
    table = Table("method", *(f"{name}, ms a batch" for name in measured), "share of connected")
    connected = measured["connected"]
    for label in connected:
        if label != "steps":
            figures = [f"{1e3 * batch.get(label, 0):.2f}" for batch in measured.values()]
            table.add_row(label, *figures, f"{connected[label] / connected['all']:.2%}")
    table.add_row("steps", *(f"{batch['steps']:.0f}" for batch in measured.values()), "")
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
