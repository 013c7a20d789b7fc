"""Batches of requests for the engine's benchmarks."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.engine_process import Batch
from cc_core.checkpoint import load_connection
from cc_core.names import CONFIG_FILE


@dataclass(frozen=True)
class Load:
    """A kind of batch.

    Args:
        name: unique.
        engine: which engine it is for.
        max_tokens: length of each answer.
        connected: share of requests that are connected.
        strength: of their connections.
    """

    name: str
    engine: str
    max_tokens: int
    connected: float = 0.0
    strength: float = 1.0


class Batches:
    """Makes batches of random prompts, which are in no cache.

    Args:
        names: the connections, which connected requests take in turn.
        vocabulary: size of the model's vocabulary.
        concurrency: number of requests in a batch.
        prompt_tokens: length of each prompt.
    """

    def __init__(self, names: Sequence[str], vocabulary: int, concurrency: int, prompt_tokens: int) -> None:
        self.names, self.vocabulary = names, vocabulary
        self.concurrency, self.prompt_tokens = concurrency, prompt_tokens
        self._random = random.Random(0)

    @classmethod
    def for_checkpoint(cls, checkpoint: Path, concurrency: int, prompt_tokens: int) -> Self:
        """Batches for the model and the connections of a checkpoint."""
        names = load_connection(checkpoint)[0].names
        vocabulary = json.loads((checkpoint / CONFIG_FILE).read_text("utf-8"))["vocab_size"]
        return cls(names, vocabulary, concurrency, prompt_tokens)

    def prompt(self, length: int) -> list[int]:
        """Random token ids, without the first hundred: the special tokens are among those."""
        return self._random.choices(range(100, self.vocabulary), k=length)

    def of(self, load: Load, prefix: Sequence[int] = ()) -> Batch:
        """A batch of a load. Every prompt begins with ``prefix``."""
        connected = round(load.connected * self.concurrency)
        names = [
            self.names[index % len(self.names)] if index < connected else None for index in range(self.concurrency)
        ]
        prompts = [[*prefix, *self.prompt(self.prompt_tokens)] for _ in names]
        return Batch(prompts, names, load.max_tokens, load.strength)


def make_parser(name: str, description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The parser of a benchmark that runs batches.

    Args:
        name: of the benchmark's module.
        description: the module's docstring, of which the first line is shown.
        rounds: default number of rounds.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(description or "").split("\n")[0]
    )
    parser.add_argument("checkpoint", type=Path, help="directory of a CC-Tuned checkpoint")
    parser.add_argument(
        "--output", type=Path, default=Path(f"outputs/{name}.json"), help="figures as JSON (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="batches of each load (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at once (default: %(default)s)")
    return parser
