"""What a draft behind the anchor wins: short answers of stock vLLM, and connected ones with and without drafts.

A strength of 0 has every draft confirmed, which bounds what can be won. At the other strengths, the connection decides.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.engine_batches import Batches, Load, make_parser
from benchmarks.engine_bench import plain_twin
from benchmarks.engine_process import Engine, Measured
from benchmarks.engine_results import interval_of, resampled
from benchmarks.machine import describe_machine, write_report
from cc_serve.engine.config import DRAFT_KEY

STOCK, CC, DRAFTS = "stock", "connected", "with drafts"
LENGTHS = (4, 8, 16, 64)

#: The runs of each engine, answers' length and strength.
Runs = dict[tuple[str, int, float], list[Measured]]


def measure(options: argparse.Namespace) -> Runs:
    """Run every load ``options.rounds`` times, in turn. A first round, of the shortest answers, warms up."""
    batches = Batches.for_checkpoint(options.checkpoint, options.concurrency, prompt_tokens=32)
    common = {
        "max_model_len": 256,
        "max_num_batched_tokens": 1024,
        "skip_tokenizer_init": True,
        "disable_log_stats": False,
        "enforce_eager": options.eager,
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
            for key in keys if index % 2 == 0 else reversed(keys):
                name, length, strength = key
                if index < 0 and length > LENGTHS[0]:
                    continue
                batch = batches.of(Load(f"{key}", name, length, 0.0 if name == STOCK else 1.0))
                measured = engines[name].run(dataclasses.replace(batch, strength=strength))
                if index >= 0:
                    runs[key].append(measured)
        for engine in engines.values():
            engine.close()
    return runs


def ratio(runs: Sequence[Measured], stock: Sequence[Measured]) -> tuple[float, tuple[float, float]]:
    """Stock's median seconds over these, which is the throughput's ratio, and its bootstrap interval over rounds."""
    mine, theirs = (np.array([run.seconds for run in each]) for each in (runs, stock))
    drawn = resampled(len(mine))
    interval = interval_of(np.median(theirs[drawn], axis=1) / np.median(mine[drawn], axis=1))
    return float(np.median(theirs) / np.median(mine)), interval


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = make_parser("draft_bench", __doc__, rounds=10)
    parser.add_argument("--eager", action="store_true", help="do not compile the models")
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[0.0, 1.0], help="of the connections (default: 0 and 1)"
    )
    options = parser.parse_args(arguments)
    runs = measure(options)
    table = Table("tokens", "strength", "engine", "drafts confirmed", "throughput / stock", "95 %", "median s", "steps")
    rows = []
    for (name, length, strength), measured in runs.items():
        share = statistics.fmean(run.confirmed for run in measured) / options.concurrency
        value, interval = ratio(measured, runs[STOCK, length, 1.0])
        seconds = statistics.median(run.seconds for run in measured)
        steps = statistics.fmean(len(run.parts) - 1 for run in measured)
        rows.append(
            {
                "tokens": length,
                "strength": strength,
                "engine": name,
                "confirmed": share,
                "ratio": value,
                "interval": interval,
                "steps": steps,
                "seconds": [run.seconds for run in measured],
            }
        )
        low, high = interval
        table.add_row(
            str(length),
            "" if name == STOCK else f"{strength:g}",
            name,
            f"{share:.2f}" if name == DRAFTS else "",
            f"{value:.3f}",
            f"{low:.3f} to {high:.3f}",
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
