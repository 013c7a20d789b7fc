"""What a start spends: the seconds of each phase, the seconds to the first answer, and processor time.

    python -m benchmarks.start_bench outputs/demo

Each case starts ``cc-serve serve`` anew, asks one question, and stops it. The cases are eager, compiled with an empty
cache, and compiled with the cache that the case before left. Processor seconds are comparable on a busy machine, too.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.machine import markdown_table
from tests.support.ports import free_port
from tests.support.programs import serve_command

PHASE = re.compile(r"^cc-serve: +(\d+) s  (.+)$")
CASES = {"eager": ("--enforce-eager",), "compiled, empty cache": (), "compiled, cache kept": ()}
FLAGS = ("--max-model-len", "2048", "--max-num-seqs", "16", "--served-model-name", "model")


@dataclass
class Start:
    """One start.

    Args:
        begins: seconds from the command to the beginning of each phase.
        ready: seconds from the command to the message that the server is ready.
        answered: seconds from the command to the end of the first answer.
        processor: seconds of processor time that the server's processes used in all.
    """

    begins: dict[str, int] = field(default_factory=dict)
    ready: float = 0.0
    answered: float = 0.0
    processor: float = 0.0

    def lengths(self) -> dict[str, float]:
        """Seconds that each phase took."""
        ends = [*list(self.begins.values())[1:], self.ready]
        return {name: end - begin for (name, begin), end in zip(self.begins.items(), ends, strict=True)}


def start(checkpoint: Path, flags: tuple[str, ...], cache: Path) -> Start:
    """Start a server, ask one question, and stop it."""
    result, port = Start(), free_port()
    before, begin = _processor_seconds(), time.monotonic()
    process = subprocess.Popen(
        [*serve_command(checkpoint, port), *FLAGS, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VLLM_CACHE_ROOT": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")},
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if match := PHASE.match(line):
                result.begins[match[2]] = int(match[1])
            if line.startswith("cc-serve: ready"):
                break
        else:
            raise SystemExit(f"the server did not start; exit code {process.wait()}")
        result.ready = time.monotonic() - begin
        body = {"model": "model", "messages": [{"role": "user", "content": "Habari ya leo?"}], "max_tokens": 1}
        httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=120).raise_for_status()
        result.answered = time.monotonic() - begin
    finally:
        process.terminate()
        process.wait()
    result.processor = _processor_seconds() - before
    return result


def table(starts: dict[str, Start]) -> str:
    """A Markdown table with a column for each case."""
    phases = list(dict.fromkeys(name for result in starts.values() for name in result.begins))
    rows = {name: [f"{result.lengths().get(name, 0):.0f}" for result in starts.values()] for name in phases}
    rows["**ready**"] = [f"{result.ready:.1f}" for result in starts.values()]
    rows["**first answer**"] = [f"{result.answered:.1f}" for result in starts.values()]
    rows["processor seconds"] = [f"{result.processor:.0f}" for result in starts.values()]
    return markdown_table([["seconds", *starts], *([name, *cells] for name, cells in rows.items())])


def main() -> None:
    """Run the cases one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    cache = Path(tempfile.mkdtemp(prefix="cc-serve-cache-"))
    try:
        starts = {name: start(options.checkpoint, flags, cache) for name, flags in CASES.items()}
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    print(table(starts))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
