"""What a connection costs: the CC engine against stock vLLM on the same weights, side by side in one run.

Three engines stay loaded, one over the checkpoint and two over the plain model within it. Every round runs each
load once, in an order that is reversed from round to round, so that a slow minute hits all sides. The second stock
engine tells how much of a difference is the machine's: against the first it should measure 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM
from vllm.platforms import current_platform

from benchmarks.engine_process import Batch, Engine, Measured
from benchmarks.machine import describe_machine
from benchmarks.two_pass import two_pass_seconds
from cc_core.architectures import CC_PREFIX
from cc_core.checkpoint import load_connection
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, CONNECTION_KEY
from cc_train.model.reference import Reference

STOCK, AGAIN, CC = "stock", "stock again", "cc"
PREFIX_TOKENS = 512
MIB = 1 << 20


@dataclass(frozen=True)
class Load:
    """A kind of batch: which engine, how long the answers are, and the share of connected requests."""

    name: str
    engine: str
    max_tokens: int
    connected: float = 0.0


@dataclass(frozen=True)
class Result:
    """A line of the table: what was measured, with its 95 % interval where it is of times, and its bound."""

    case: str
    value: float
    bound: float | None  # None: for information
    detail: str
    at_least: bool = True
    interval: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        """``met`` or ``missed``; ``undecided`` where the interval holds the bound."""
        if self.bound is None:
            return ""
        low, high = self.interval or (self.value, self.value)
        if not self.at_least:
            low, high, bound = -high, -low, -self.bound
        else:
            bound = self.bound
        return "met" if low >= bound else "missed" if high < bound else "undecided"


LOADS = (
    Load("stock, 64", STOCK, 64),
    Load("stock again, 64", AGAIN, 64),
    Load("plain, 64", CC, 64),
    Load("mixed, 64", CC, 64, connected=0.5),
    Load("connected, 64", CC, 64, connected=1.0),
    Load("stock, 256", STOCK, 256),
    Load("connected, 256", CC, 256, connected=1.0),
)
STOCK_64 = ("stock, 64", "stock again, 64")
Runs = dict[str, list[Measured]]  # by the load's name, in the order of rounds


class Batches:
    """Makes batches whose prompts no cache knows.

    Args:
        names: connections, which requests take in turn.
        vocabulary: token ids of the model.
        concurrency: requests of a batch.
        prompt_tokens: length of their prompts.
    """

    def __init__(self, names: Sequence[str], vocabulary: int, concurrency: int, prompt_tokens: int) -> None:
        self.names, self.vocabulary = names, vocabulary
        self.concurrency, self.prompt_tokens = concurrency, prompt_tokens
        self._random = random.Random(0)

    def prompt(self, length: int) -> list[int]:
        """Random token ids; the first hundred are left out, among which are the special ones."""
        return self._random.choices(range(100, self.vocabulary), k=length)

    def of(self, load: Load, prefix: Sequence[int] = ()) -> Batch:
        """A batch of a load, its prompts beginning with ``prefix``."""
        connected = round(load.connected * self.concurrency)
        names = [
            self.names[index % len(self.names)] if index < connected else None for index in range(self.concurrency)
        ]
        return Batch([[*prefix, *self.prompt(self.prompt_tokens)] for _ in names], names, load.max_tokens)


def run_rounds(engines: Mapping[str, Engine], batches: Batches, rounds: int) -> Runs:
    """Every load ``rounds`` times, after once that does not count."""
    runs: Runs = {load.name: [] for load in LOADS}
    for index in range(-1, rounds):
        for load in LOADS if index % 2 == 0 else reversed(LOADS):
            if index >= 0:
                runs[load.name].append(engines[load.engine].run(batches.of(load)))
            elif load.max_tokens == LOADS[0].max_tokens:
                engines[load.engine].run(batches.of(load))
    return runs


def typical_seconds(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a batch takes undisturbed: the sum of the medians over rounds of each of its parts.

    Every round's batch has the same steps. A neighbour's second falls on a few steps of one round, which a median over
    whole batches keeps and this one drops.

    Args:
        parts: ``[..., rounds, P]``.
    """
    return np.median(parts, axis=-2).sum(axis=-1)


def parts_of(runs: Sequence[Measured]) -> NDArray[np.float64]:
    """``[rounds, P]`` seconds."""
    return np.array([run.parts for run in runs])


def resampled(rounds: int) -> NDArray[np.int64]:
    """Rounds drawn with replacement, ``[2000, rounds]``: a bootstrap's."""
    return np.random.default_rng(0).integers(rounds, size=(2000, rounds))


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def compare_throughput(runs: Runs, case: str, load: str, baselines: Sequence[str], bound: float | None) -> Result:
    """Ratio of throughputs of typical batches, to all baselines' together, with its 95 % interval by bootstrap."""
    mine, theirs = parts_of(runs[load]), np.stack([parts_of(runs[name]) for name in baselines], axis=1)
    drawn = resampled(len(mine))
    resampled_theirs = theirs[drawn].reshape(len(drawn), -1, theirs.shape[-1])
    theirs = theirs.reshape(-1, theirs.shape[-1])
    interval = interval_of(typical_seconds(resampled_theirs) / typical_seconds(mine[drawn]))
    seconds = typical_seconds(mine), typical_seconds(theirs)
    whole = np.median(theirs.sum(axis=1)) / np.median(mine.sum(axis=1))
    detail = f"{seconds[0]:.3f} s against {seconds[1]:.3f} s; medians of whole batches: {whole:.3f}"
    return Result(case, float(seconds[1] / seconds[0]), bound, detail, interval=interval)


def compare_first_token(runs: Runs) -> Result:
    """How many decode steps later the first token of a connected request comes."""
    plain, connected = (np.array([run.first_token for run in runs[f"{kind}, 64"]]) for kind in ("plain", "connected"))
    first, later = np.median(plain), np.median(connected)
    step = float(np.median(parts_of(runs["plain, 64"])[:, 2:]))  # behind admission and prefill
    drawn = resampled(len(plain))
    interval = interval_of((np.median(connected[drawn], axis=1) - np.median(plain[drawn], axis=1)) / step)
    detail = f"{1e3 * (later - first):.1f} ms later than {1e3 * first:.0f} ms; a decode step {1e3 * step:.1f} ms"
    name = "first token of connected, decode steps after plain"
    return Result(name, float(later - first) / step, 1.25, detail, at_least=False, interval=interval)


def compare_cache(engines: Mapping[str, Engine], batches: Batches) -> Result:
    """Prompt tokens found in the prefix cache by a second batch that shares a long prefix with the first."""
    prefix = batches.prompt(PREFIX_TOKENS)
    cached = {}
    for name, connected in ((STOCK, 0.0), (CC, 1.0)):
        load = Load("prefix", name, 4, connected)
        engines[name].run(batches.of(load, prefix))
        cached[name] = engines[name].run(batches.of(load, prefix)).cached_tokens
    total = batches.concurrency * (PREFIX_TOKENS + batches.prompt_tokens)
    detail = f"{cached[CC]} and {cached[STOCK]} of {total} prompt tokens"
    return Result("prefix cache hits, stock's minus connected's", cached[STOCK] - cached[CC], 0, detail, at_least=False)


def compare_two_pass(checkpoint: Path, batches: Batches, runs: Runs) -> list[Result]:
    """Against transformers, which answers the requests of a batch one after another, or in a batch of its own."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
    reference = Reference(model.to(current_platform.device_type), load_connection(checkpoint)[0])
    load = next(load for load in LOADS if load.name == "connected, 64")
    mine = statistics.median(run.seconds for run in runs[load.name])
    prompts = batches.of(load).prompts
    name = batches.names[0]
    two_pass_seconds(reference, prompts[:1], name, 4)  # warm up
    few = prompts[:4]  # the rest would take as long
    alone = (
        sum(two_pass_seconds(reference, [prompt], name, load.max_tokens) for prompt in few) * len(prompts) / len(few)
    )
    together = two_pass_seconds(reference, prompts, name, load.max_tokens)
    return [
        Result(
            f"connected / two passes on transformers, {case}",
            seconds / mine,
            10,
            f"{mine:.2f} s against {seconds:.2f} s",
        )
        for case, seconds in ((f"one by one, from {len(few)}", alone), ("in one batch", together))
    ]


def plain_twin(checkpoint: Path, directory: Path) -> Path:
    """The plain model within a checkpoint, as stock vLLM loads it: links to its files, without the connection."""
    directory.mkdir(parents=True)
    for file in checkpoint.iterdir():
        if file.is_file() and file.name not in (CONFIG_FILE, CONNECTION_FILE):
            (directory / file.name).symlink_to(file.resolve())
    config = json.loads((checkpoint / CONFIG_FILE).read_text())
    del config[CONNECTION_KEY]
    config["architectures"] = [name.removeprefix(CC_PREFIX) for name in config["architectures"]]
    (directory / CONFIG_FILE).write_text(json.dumps(config))
    return directory


def measure(options: argparse.Namespace) -> tuple[list[Result], Runs]:
    """All cases of the table."""
    connection, entry = load_connection(options.checkpoint)
    vocabulary = json.loads((options.checkpoint / CONFIG_FILE).read_text())["vocab_size"]
    batches = Batches(connection.names, vocabulary, options.concurrency, options.prompt_tokens)
    tokens = options.concurrency * (PREFIX_TOKENS + options.prompt_tokens)
    engine_options = {
        "max_model_len": 1024,
        "max_num_batched_tokens": max(1024, tokens),  # so that a batch is prefilled in one step
        "skip_tokenizer_init": True,
        "disable_log_stats": False,
        "gpu_memory_utilization": options.memory,
    }
    with tempfile.TemporaryDirectory() as directory:
        twin = plain_twin(options.checkpoint, Path(directory) / "plain")
        models = {STOCK: twin, CC: options.checkpoint, AGAIN: twin}
        engines = {name: Engine(model, engine_options) for name, model in models.items()}
        runs = run_rounds(engines, batches, options.rounds)
        results = [
            compare_throughput(runs, "a second stock engine / stock", "stock again, 64", ["stock, 64"], None),
            compare_throughput(runs, "plain on the CC engine / stock", "plain, 64", STOCK_64, 0.99),
            compare_throughput(runs, "connected / stock, 64 tokens", "connected, 64", STOCK_64, 0.97),
            compare_throughput(runs, "connected / stock, 256 tokens", "connected, 256", ["stock, 256"], 0.99),
            compare_throughput(runs, "half connected / stock, 64 tokens", "mixed, 64", STOCK_64, 0.98),
            compare_first_token(runs),
            compare_cache(engines, batches),
        ]
        matrix = 4 * connection.hidden_size**2
        allowed = (len(entry.languages) + 1) * matrix + MIB
        used = engines[CC].connection_bytes()
        detail = f"of which {len(connection.names)} matrices {len(connection.names) * matrix}"
        results.append(Result("memory of the connection, bytes", used, allowed, detail, at_least=False))
        for engine in engines.values():
            engine.close()
    if not options.no_transformers:
        results += compare_two_pass(options.checkpoint, batches, runs)
    return results, runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit code 1 when a bound is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine_bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("checkpoint", type=Path, help="directory of a CC-Tuned checkpoint")
    parser.add_argument("--output", type=Path, default=Path("outputs/engine_bench.json"), help="figures and raw runs")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each load (default: 15)")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at once (default: 16)")
    parser.add_argument("--prompt-tokens", type=int, default=32, help="tokens of a prompt (default: 32)")
    parser.add_argument(
        "--memory", type=float, default=0.25, help="share of a GPU's memory for each of the three engines"
    )
    parser.add_argument("--no-transformers", action="store_true", help="leave out two-pass generation on transformers")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error("--rounds must be 2 or more, for an interval")
    results, runs = measure(options)
    report = {
        "machine": describe_machine(),
        "settings": {name: str(value) for name, value in vars(options).items()},
        "results": [dataclasses.asdict(result) | {"verdict": result.verdict} for result in results],
        "runs": {load: [dataclasses.asdict(run) for run in measured] for load, measured in runs.items()},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    _print(results, report["machine"])
    return int(any(result.verdict == "missed" for result in results))


def _print(results: Sequence[Result], machine: Any) -> None:
    table = Table("case", "measured", "95 %", "bound", "", "detail")
    for result in results:
        interval = " to ".join(f"{value:.3f}" for value in result.interval or ())
        bound = "" if result.bound is None else f"{'≥' if result.at_least else '≤'} {result.bound:g}"
        table.add_row(result.case, f"{result.value:.4g}", interval, bound, result.verdict, result.detail)
    console = Console(width=200)
    console.print(table, machine)


if __name__ == "__main__":
    sys.exit(main())
