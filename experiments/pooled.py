"""How much one system is ahead of another in the share of right answers, as a mean over models.

    python -m experiments.pooled docs/results/transfer docs/results/transfer-qwen2.5-coder-0.5b

Each directory has one model's results from `experiments.transfer`. The models were asked the same rows, so the
bootstrap draws the same items for all of them, and seeds for each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compare import RESAMPLES, items_of, matrix, read


def gains(directory: Path, system: str, against: str) -> tuple[np.ndarray, dict[str, Any]]:
    """By seed and row, how much ``system`` is ahead of ``against``, both plain, ``[seeds, rows]``; and one's scores."""
    systems = read(sorted(directory.glob("*.json")))
    ours, theirs = (matrix(systems[name], "plain", "accuracy") for name in (system, against))
    return ours - theirs, systems[against][0]


def pooled(models: Sequence[np.ndarray], items: np.ndarray) -> tuple[float, float, float]:
    """The mean over ``models`` of their gains ``[seeds, rows]``, and its 95 % interval."""
    rows = np.bincount(items)
    by_item = [np.array([np.bincount(items, weights=seed) for seed in each]) for each in models]
    generator = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(rows), size=len(rows))
        means = [each[generator.integers(len(each), size=len(each))][:, drawn].mean(0).sum() for each in by_item]
        found.append(np.mean(means) / rows[drawn].sum())
    low, high = np.percentile(found, [2.5, 97.5])
    return float(np.mean([each.mean() for each in models])), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--system", default="sft_align")
    parser.add_argument("--against", default="sft")
    options = parser.parse_args()
    found = [gains(directory, options.system, options.against) for directory in options.directories]
    scores = found[0][1]
    if any(other["rows"] != scores["rows"] for _, other in found):
        parser.error("the models were asked different rows")
    for directory, (each, _) in zip(options.directories, found, strict=True):
        print(f"{directory.name}: {each.mean():+.4f}, by seed {' '.join(f'{x:+.4f}' for x in each.mean(1))}")
    print("mean {:+.4f} ({:+.4f} to {:+.4f})".format(*pooled([each for each, _ in found], items_of(scores))))


if __name__ == "__main__":
    main()
