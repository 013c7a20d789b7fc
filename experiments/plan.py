"""Run every experiment that `docs/experiments.md` reports. Results that exist are not made again.

    python -m experiments.plan --data DIR --jobs 2

Stop it at any time: started again, it goes on with the next missing file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from experiments import rows

WARM_STEPS = 80
WORK = Path("outputs/evidence")
RUNS = [
    *[(system, seed) for seed in range(3) for system in ("sft", "cc")],
    ("both", 0),
    ("base", 0),
    ("warm", 0),
    ("cc_raw", 0),
    ("connection", 0),
    ("connection_raw", 0),
    ("cc_held", 0),
    ("cc_fixed", 0),
]
"""The most telling first."""
DEV_ROWS = 36
"""Of each language."""


def both(path: Path) -> Path:
    """The file with the same rows, whose prompts hold the English ones too."""
    return path.with_name(f"both-{path.name}")


def run(*command: str) -> subprocess.Popen[bytes]:
    """Start a Python module on one thread: two such processes are faster than one with two threads."""
    return subprocess.Popen([sys.executable, "-m", *command], env={"OMP_NUM_THREADS": "1", **os.environ})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds train.jsonl.gz and dev.jsonl.gz")
    parser.add_argument("--model", type=Path, default=Path("models/gemma3-270m"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, 3.5 GB each")
    options = parser.parse_args()
    train, dev, warm = WORK / "train.jsonl", WORK / "dev.jsonl", WORK / "warm"
    if not dev.exists():
        for path, lines in (
            (train, rows.select(options.data, "train")),
            (dev, rows.select(options.data, "dev", DEV_ROWS, english=False)),
        ):
            rows.write(rows.with_english(lines), both(path))
            rows.write(lines, path)
    if not warm.exists():
        flags = {
            "method": "sft",
            "model": str(options.model),
            "data": str(train),
            "output": str(warm),
            "freeze-embeddings": "true",
            "max-steps": str(WARM_STEPS),
            "per-device-train-batch-size": "8",
            "learning-rate": "3e-5",
            "train-sampling-strategy": "group_by_length",
            "bf16": "true",
            "save-dtype": "float32",
            "seed": "100",
            "data-seed": "100",
        }
        if run("cc_train.commands.main", "run", *(f"--{name}={value}" for name, value in flags.items())).wait():
            sys.exit(f"{warm} could not be trained")
    probe = options.results / "probe" / "probe.json"
    if not probe.exists():
        run("experiments.probe", "--model", str(warm), "--dev", str(dev), "--output", str(probe)).wait()
    missing = [(s, n) for s, n in RUNS if not (options.results / f"{s}-{n}.json").exists()]
    running: list[subprocess.Popen[bytes]] = []
    while missing or running:
        running = [process for process in running if process.poll() is None]
        if missing and len(running) < options.jobs:
            system, seed = missing.pop(0)
            print(f"{time.strftime('%T')} {system}-{seed}", flush=True)
            start = options.model if system == "base" else warm
            data = [str(both(path) if system == "both" else path) for path in (train, dev)]
            given = [
                "--system",
                system,
                "--seed",
                str(seed),
                "--from",
                str(start),
                "--train",
                data[0],
                "--dev",
                data[1],
            ]
            running.append(run("experiments.train", *given, "--output", str(options.results)))
        time.sleep(1)


if __name__ == "__main__":
    main()
