"""Prompt pairs and activations for the tests of the fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from cc_train.data.dataset import Example
from cc_train.data.rows import Row
from cc_train.fit.pairs import PairBatch

SIZE = 16


def pair(lang: str, number: int = 0, length: int = 6, english: int | None = None) -> Example:
    """A pair of random tokens. Pairs with the same ``english`` (``number`` by default) have the same English prompt."""
    generator = np.random.default_rng(number)
    prompt, answer = (generator.integers(3, 100, n, dtype=np.int32) for n in (length, 2))
    same = np.random.default_rng(number if english is None else english)
    return Example(
        Row(lang, "a", "b", "c", "rows.jsonl", number), prompt, answer, same.integers(3, 100, length + 2, np.int32)
    )


def matrix(seed: int) -> torch.Tensor:
    """A random ``T`` [SIZE, SIZE]."""
    values = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return values / math.sqrt(SIZE)


def batches_of(maps: Mapping[str, torch.Tensor], count: int, seed: int = 0, noise: float = 0.0) -> Iterator[PairBatch]:
    """``count`` batches a language, of 4 pairs that its matrix in ``maps`` explains. Layers differ widely in norm."""
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.arange(3).float()[:, None]
    number = 0
    for _ in range(count):
        for lang, transform in maps.items():
            source = torch.randn(4, 3, SIZE, generator=generator) * scale
            error = noise * torch.randn(4, 3, SIZE, generator=generator) * scale
            pairs = [pair(lang, number + i) for i in range(4)]
            number += 4
            yield PairBatch(pairs, source, source @ transform + error, torch.zeros(4, SIZE))
