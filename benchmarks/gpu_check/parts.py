"""Runs each part of the check in a process of its own, and keeps what is finished when a later one dies.

Within such a process: ``python -m benchmarks.gpu_check.parts PART CHECKPOINT FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import describe_machine

MACHINE: Final = "machine"
SPEED: Final = "speed"
SCORES: Final = "scores"
DTYPES: Final = ("float32", "bfloat16")


class PartError(RuntimeError):
    """A part did not finish; the message is one line."""


def engine_parts(dtype: str, modes: Sequence[str]) -> list[str]:
    """The parts in which engines of a dtype answer."""
    return [f"{dtype}-{mode}" for mode in modes]


def run_part(part: str, checkpoint: Path, folder: Path, seconds: float, extra: Sequence[str] = ()) -> Any:
    """Run a part in a process of its own, whose output goes to a file, and return what it found.

    Raises:
        PartError: it died, or took longer than ``seconds``.
    """
    command = [sys.executable, "-m", "benchmarks.gpu_check.parts", part, str(checkpoint), str(folder), *extra]
    result = result_file(folder, part)
    result.unlink(missing_ok=True)
    run_process(command, folder / f"{part}.log", seconds)
    return json.loads(result.read_text("utf-8"))


def run_process(command: Sequence[str], log: Path, seconds: float) -> None:
    """Run a command, and end it with all that it started when its time is over."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise PartError(f"took longer than the {seconds:.0f} s that were left; see {log}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        raise PartError(f"ended with {code}: {lines[-1].strip()[:300] if lines else 'nothing was printed'}; see {log}")


def result_file(folder: Path, part: str) -> Path:
    """Where a part leaves what it found."""
    return folder / f"{part}.json"


def machine() -> dict[str, Any]:
    """What it is, and the versions of what runs on it."""
    import torch
    from vllm.platforms import current_platform

    facts: dict[str, Any] = {**describe_machine(), "device": current_platform.device_type or "none"}
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": gpu.name,
            "gpu_memory": f"{gpu.total_memory / 2**30:.0f} GiB",
            "compute_capability": f"{gpu.major}.{gpu.minor}",
            "cuda": str(torch.version.cuda),
        }
    return facts


def _run(part: str, checkpoint: Path, folder: Path, options: argparse.Namespace) -> Any:
    if part == MACHINE:
        return machine()
    if part == SPEED:
        from benchmarks.gpu_check.speed import measure_speed

        return measure_speed(checkpoint, options.rounds, options.concurrency, options.memory)
    from benchmarks.gpu_check.answers import Answer, answer_all

    kind, _, rest = part.partition("-")
    if kind == SCORES:
        from benchmarks.gpu_check.scores import score_all

        answers = {p: json.loads(result_file(folder, p).read_text("utf-8"))["answers"] for p in options.of}
        scores = iter(score_all(checkpoint, [Answer(**answer) for some in answers.values() for answer in some]))
        return {p: [next(scores) for _ in some] for p, some in answers.items()}
    return answer_all(checkpoint, kind, rest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part in this process, and leave what it finds in the folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check.parts")
    parser.add_argument("part")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", nargs="*", default=[], help="the engines' parts whose answers are scored")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--memory", type=float, default=0.25)
    options = parser.parse_args(arguments)
    found = _run(options.part, options.checkpoint, options.folder, options)
    result_file(options.folder, options.part).write_text(json.dumps(found) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
