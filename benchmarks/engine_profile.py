"""Where a connection's time goes: what the engine's own parts take of a batch, and how much of that vLLM's."""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.engine_bench import Batches, Load
from benchmarks.engine_process import parameters_of
from benchmarks.machine import describe_machine
from cc_core.checkpoint import load_connection
from cc_core.names import CONFIG_FILE

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
    """Wrap the connection's methods, and vLLM's beneath those that call them."""
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
    """Seconds of each method per batch, medians over rounds, for plain and for connected batches."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    _instrument()
    from vllm import LLM

    connection, _ = load_connection(options.checkpoint)
    vocabulary = json.loads((options.checkpoint / CONFIG_FILE).read_text())["vocab_size"]
    llm = LLM(str(options.checkpoint), max_model_len=1024, skip_tokenizer_init=True)
    batches = Batches(connection.names, vocabulary, options.concurrency, 32)
    loads = (Load("plain", "", options.max_tokens), Load("connected", "", options.max_tokens, connected=1.0))
    rounds: dict[str, list[dict[str, float]]] = {load.name: [] for load in loads}
    for index in range(-1, options.rounds):
        for load in loads:
            batch = batches.of(load)
            parameters = parameters_of(batch)
            _spent.clear()
            start = time.perf_counter()
            llm.generate([{"prompt_token_ids": p} for p in batch.prompts], parameters, use_tqdm=False)
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
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine_profile", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("checkpoint", type=Path, help="directory of a CC-Tuned checkpoint")
    parser.add_argument("--output", type=Path, default=Path("outputs/engine_profile.json"), help="the same as JSON")
    parser.add_argument("--rounds", type=int, default=7, help="batches of each kind (default: 7)")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at once (default: 16)")
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of an answer (default: 64)")
    options = parser.parse_args(arguments)
    measured = profile(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": describe_machine(), "batch": measured}, indent=1) + "\n")
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
