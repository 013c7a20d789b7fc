"""What the engines are asked: the same requests in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine_batches import Batches
from benchmarks.engine_process import Batch

BLOCK = 32
CHUNK = 48
MAX_MODEL_LEN = 256
_NAMES = 2


@dataclass(frozen=True)
class Scenario:
    """Requests that arrive together.

    Args:
        name: unique.
        batch: the requests.
        preempt_at: steps before which everything that runs is preempted.
        cached: whether the prefix cache has to be hit.
    """

    name: str
    batch: Batch
    preempt_at: frozenset[int] = frozenset()
    cached: bool = False


def scenarios_for(checkpoint: Path) -> list[Scenario]:
    """Mixed, chunked, prefix-cached and preempted requests for a checkpoint's vocabulary and connections."""
    batches = Batches.for_checkpoint(checkpoint, concurrency=0, prompt_tokens=0)
    names: tuple[str | None, ...] = (None, *batches.names[:_NAMES])

    def batch(prompts: Sequence[list[int]], max_tokens: int) -> Batch:
        """Each prompt plain, and with each connection."""
        return Batch([prompt for prompt in prompts for _ in names], [*names] * len(prompts), max_tokens)

    def prompts(*lengths: int) -> list[list[int]]:
        return [batches.prompt(length) for length in lengths]

    shared = batches.prompt(3 * BLOCK)
    prefixed = batch([shared, *([*shared, *prompt] for prompt in prompts(1, 5, BLOCK))], 12)
    # The steps in which these requests prefill, capture, inject and decode.
    preempt_at = frozenset({1, 2, 3, 5, 9, 20})
    return [
        Scenario("mixed", batch(prompts(4, 20, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1), 12)),
        Scenario("chunked", batch(prompts(CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 131), 12)),
        Scenario("before the prefix cache", prefixed),
        Scenario("prefix-cached", prefixed, cached=True),
        Scenario("preempted", batch(prompts(10, 40, 52, 75, 100), 24), preempt_at),
    ]
