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

from experiments.compare import items_of, matrix, pooled, read


def gains(directory: Path, system: str, against: str) -> tuple[np.ndarray, dict[str, Any]]:
    """How much ``system`` is ahead of ``against``, both plain, ``[seeds, rows]``; and the scores of one seed."""
    systems = read(sorted(directory.glob("*.json")))
    ours, theirs = (matrix(systems[name], "plain", "accuracy") for name in (system, against))
    return ours - theirs, systems[against][0]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--system", default="sft_align")
    parser.add_argument("--against", default="sft")
    options = parser.parse_args(arguments)
    for directory in options.directories:
        for name in (options.system, options.against):
            if not list(directory.glob(f"{name}-?.json")):
                parser.error(f"{directory}: no result of {name}; train it with python -m experiments.transfer")
    found = [gains(directory, options.system, options.against) for directory in options.directories]
    scores = found[0][1]
    if any(other["rows"] != scores["rows"] for _, other in found):
        parser.error("the models were asked different rows; name results of experiments.transfer from the same data")
    for directory, (each, _) in zip(options.directories, found, strict=True):
        print(f"{directory.name}: {each.mean():+.4f}, by seed {' '.join(f'{x:+.4f}' for x in each.mean(1))}")
    rows = np.ones(len(scores["rows"]))
    print("mean {:+.4f} ({:+.4f} to {:+.4f})".format(*pooled([each for each, _ in found], rows, items_of(scores))))


if __name__ == "__main__":
    main()
