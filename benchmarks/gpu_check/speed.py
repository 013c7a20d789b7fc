"""Plain and connected throughput beside stock vLLM's: `benchmarks.engine_bench` with few rounds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vllm.platforms import current_platform

from benchmarks.engine_bench import measure

PROMPT_TOKENS = 32


def measure_speed(checkpoint: Path, rounds: int, concurrency: int, memory: float) -> list[dict[str, Any]]:
    """The lines of the benchmark's table. On a CPU the engines are eager, which saves minutes of compiling."""
    options = argparse.Namespace(
        checkpoint=checkpoint,
        rounds=rounds,
        concurrency=concurrency,
        memory=memory,
        prompt_tokens=PROMPT_TOKENS,
        no_transformers=True,
        enforce_eager=current_platform.is_cpu(),
    )
    return [result.as_record() for result in measure(options)[0]]
