"""What a connection costs: the CC engine against stock vLLM on the same weights, side by side in one run.

Three engines stay loaded: one over the checkpoint, and two of stock vLLM over the plain model within it. Each round
runs every load once. Every other round reverses the order, so that a slow minute hits all sides. The second stock
engine shows how much of a difference is the machine's: it should measure 1 against the first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM
from vllm.platforms import current_platform

from benchmarks.engine_batches import Batches, Load, make_parser
from benchmarks.engine_process import Engine
from benchmarks.engine_results import Result, Runs, cells_of, compare_first_token, compare_throughput
from benchmarks.machine import describe_machine, write_report
from benchmarks.two_pass import two_pass_seconds
from cc_core.architectures import CC_PREFIX
from cc_core.checkpoint import load_connection
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, CONNECTION_KEY
from cc_train.model.reference import Reference

STOCK, AGAIN, CC = "stock", "stock again", "cc"
PREFIX_TOKENS = 512
MIB = 1 << 20

LOADS = (
    Load("stock, 64", STOCK, 64),
    Load("stock again, 64", AGAIN, 64),
    Load("plain, 64", CC, 64),
    Load("mixed, 64", CC, 64, connected=0.5),
    Load("connected, 64", CC, 64, connected=1.0),
    Load("connected by 1.5, 64", CC, 64, connected=1.0, strength=1.5),
    Load("stock, 256", STOCK, 256),
    Load("connected, 256", CC, 256, connected=1.0),
)
STOCK_64 = ("stock, 64", "stock again, 64")


def run_rounds(engines: Mapping[str, Engine], batches: Batches, rounds: int) -> Runs:
    """Run every load ``rounds`` times. A first round warms up and does not count."""
    runs: Runs = {load.name: [] for load in LOADS}
    for index in range(-1, rounds):
        for load in LOADS if index % 2 == 0 else reversed(LOADS):
            if index >= 0:
                runs[load.name].append(engines[load.engine].run(batches.of(load)))
            elif load.max_tokens == LOADS[0].max_tokens:
                engines[load.engine].run(batches.of(load))
    return runs


def compare_cache(engines: Mapping[str, Engine], batches: Batches) -> Result:
    """Prompt tokens that a second batch finds in the prefix cache, where it shares a long prefix with the first."""
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
    """Against two passes on transformers, which answers the requests of a batch one by one, or all in one batch."""
    device = current_platform.device_type
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto", device_map=device)
    reference = Reference(model, load_connection(checkpoint)[0])
    load = next(load for load in LOADS if load.name == "connected, 64")
    mine = statistics.median(run.seconds for run in runs[load.name])
    prompts = batches.of(load).prompts
    name = batches.names[0]
    two_pass_seconds(reference, prompts[:1], name, 4)  # warm up
    few = prompts[:4]  # the others would take as long
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
    """Write the plain model of a checkpoint, as stock vLLM loads it: links to its files, without the connection."""
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
    """Every line of the table, and the runs behind them."""
    connection, entry = load_connection(options.checkpoint)
    batches = Batches.for_checkpoint(options.checkpoint, options.concurrency, options.prompt_tokens)
    tokens = options.concurrency * (PREFIX_TOKENS + options.prompt_tokens)
    engine_options = {
        "max_model_len": 1024,
        "max_num_batched_tokens": max(1024, tokens),  # so that a batch is prefilled in one step
        "skip_tokenizer_init": True,
        "disable_log_stats": False,
        "gpu_memory_utilization": options.memory,
        "enforce_eager": options.enforce_eager,
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
            compare_throughput(
                runs, "connected at strength 1.5 / at 1, 64 tokens", "connected by 1.5, 64", ["connected, 64"], None
            ),
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
    """Run the benchmark. The exit code is 1 when a bound is missed."""
    parser = make_parser("engine_bench", __doc__, rounds=15)
    parser.add_argument("--prompt-tokens", type=int, default=32, help="tokens of a prompt (default: 32)")
    parser.add_argument(
        "--memory", type=float, default=0.25, help="share of a GPU's memory for each of the three engines"
    )
    parser.add_argument("--enforce-eager", action="store_true", help="do not compile")
    parser.add_argument("--no-transformers", action="store_true", help="leave out two-pass generation on transformers")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error("--rounds must be 2 or more, for an interval")
    results, runs = measure(options)
    machine = describe_machine()
    report = {
        "machine": machine,
        "settings": {name: str(value) for name, value in vars(options).items()},
        "results": [result.as_record() for result in results],
        "runs": {load: [dataclasses.asdict(run) for run in measured] for load, measured in runs.items()},
    }
    write_report(options.output, report)
    _print(results, machine)
    return int(any(result.verdict == "missed" for result in results))


def _print(results: Sequence[Result], machine: dict[str, str]) -> None:
    table = Table("case", "measured", "95 %", "bound", "", "detail")
    for result in results:
        table.add_row(*cells_of(result.as_record()))
    console = Console(width=200)
    console.print(table, machine)


if __name__ == "__main__":
    sys.exit(main())
