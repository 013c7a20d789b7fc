"""What a draft behind the anchor wins: short answers of stock vLLM, and connected ones with and without drafts.

A strength of 0 has every draft confirmed, which bounds what can be won. At the other strengths, the connection decides.
In each round, all engines answer the same questions, drawn from a file of training rows.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from benchmarks.engine_batches import make_parser
from benchmarks.engine_bench import plain_twin
from benchmarks.engine_process import Batch, Engine, Measured
from benchmarks.engine_results import interval_of, resampled
from benchmarks.machine import describe_machine, write_report
from cc_core.checkpoint import load_connection
from cc_serve.engine.config import DRAFT_KEY

STOCK, CC, DRAFTS = "stock", "connected", "with drafts"
LENGTHS = (4, 8, 16, 64)
LONGEST_PROMPT = 192

#: The runs of each engine, answers' length and strength.
Runs = dict[tuple[str, int, float], list[Measured]]


def read_prompts(checkpoint: Path, rows: Path) -> list[list[int]]:
    """The rows' questions as the checkpoint's chat template has them, without long ones."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    questions = [json.loads(line)["instruction"] for line in rows.read_text("utf-8").splitlines()]
    turns = [[{"role": "user", "content": question}] for question in questions]
    prompts = [tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False) for turn in turns]
    return [prompt for prompt in cast(list[list[int]], prompts) if len(prompt) <= LONGEST_PROMPT]


def measure(options: argparse.Namespace) -> Runs:
    """Run every load ``options.rounds`` times, in turn. A first round, of the shortest answers, warms up."""
    prompts, names = read_prompts(options.checkpoint, options.data), load_connection(options.checkpoint)[0].names
    common = {
        "max_model_len": LONGEST_PROMPT + max(LENGTHS),
        "max_num_batched_tokens": 1024,
        "skip_tokenizer_init": True,
        "enable_prefix_caching": False,  # each engine answers a round's questions several times
        "disable_log_stats": False,
        "enforce_eager": not options.compile,
    }
    keys = [(STOCK, n, 1.0) for n in LENGTHS]
    keys += [(name, n, strength) for n in LENGTHS for strength in options.strengths for name in (CC, DRAFTS)]
    runs: Runs = {key: [] for key in keys}
    with tempfile.TemporaryDirectory() as directory:
        engines = {
            STOCK: Engine(plain_twin(options.checkpoint, Path(directory) / "plain"), common),
            CC: Engine(options.checkpoint, common),
            DRAFTS: Engine(options.checkpoint, common | {"additional_config": {DRAFT_KEY: True}}),
        }
        for index in range(-1, options.rounds):
            drawn = random.Random(index).sample(prompts, options.concurrency)
            for key in keys if index % 2 == 0 else reversed(keys):
                name, length, strength = key
                if index < 0 and length > LENGTHS[0]:
                    continue
                connections = [None if name == STOCK else names[place % len(names)] for place in range(len(drawn))]
                measured = engines[name].run(Batch(drawn, connections, length, strength))
                if index >= 0:
                    runs[key].append(measured)
        for engine in engines.values():
            engine.close()
    return runs


def ratio(mine: Sequence[float], stock: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The ratio of throughputs, stock's median seconds divided by mine, and its bootstrap interval over rounds."""
    times, theirs = np.array(mine), np.array(stock)
    drawn = resampled(len(times))
    interval = interval_of(np.median(theirs[drawn], axis=1) / np.median(times[drawn], axis=1))
    return float(np.median(theirs) / np.median(times)), interval


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = make_parser("draft_bench", __doc__, rounds=4)
    parser.set_defaults(concurrency=4)
    parser.add_argument("--compile", action="store_true", help="compile the models, for minutes")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("cc_train/data/sample.jsonl"),
        help="rows with questions (default: %(default)s)",
    )
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[0.0, 1.0], help="of the connections (default: 0 and 1)"
    )
    options = parser.parse_args(arguments)
    runs = measure(options)
    columns = ("throughput / stock", "95 %", "by CPU time", "95 %", "median s", "steps")
    table = Table("tokens", "strength", "engine", "confirmed", *columns)
    rows = []
    for (name, length, strength), measured in runs.items():
        share = statistics.fmean(run.confirmed for run in measured) / options.concurrency
        stock = runs[STOCK, length, 1.0]
        ratios = {
            "clock": ratio([run.seconds for run in measured], [run.seconds for run in stock]),
            "cpu": ratio([run.cpu_seconds for run in measured], [run.cpu_seconds for run in stock]),
        }
        seconds = statistics.median(run.seconds for run in measured)
        steps = statistics.fmean(len(run.parts) - 1 for run in measured)
        rows.append(
            {
                "tokens": length,
                "strength": strength,
                "engine": name,
                "confirmed": share,
                "ratios": ratios,
                "steps": steps,
                "seconds": [run.seconds for run in measured],
                "cpu_seconds": [run.cpu_seconds for run in measured],
            }
        )
        table.add_row(
            str(length),
            "" if name == STOCK else f"{strength:g}",
            name,
            f"{share:.2f}" if name == DRAFTS else "",
            *(text for value, (low, high) in ratios.values() for text in (f"{value:.3f}", f"{low:.3f} to {high:.3f}")),
            f"{seconds:.3f}",
            f"{steps:.1f}",
        )
    machine = describe_machine()
    settings = {name: str(value) for name, value in vars(options).items()}
    write_report(options.output, {"machine": machine, "settings": settings, "results": rows})
    Console(width=140).print(table, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
