"""Measure the memory of a fit of Transform Matrices: ``python -m benchmarks.fit_memory``.

The fit is the real one. Its activations are random, which costs the same. Memory is sampled every 20 ms. Only memory
that the process owns is counted: mapped files belong to the page cache.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from cc_core.checkpoint import save_connection
from cc_core.connection import Connection
from cc_train.config.fit import FitSettings
from cc_train.data.encoding import Example
from cc_train.data.rows import Row
from cc_train.fit.pairs import PairBatch
from cc_train.fit.transforms import fit_transforms

CONFIG = (
    '{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": {0.hidden_size}, '
    '"num_hidden_layers": {0.layers}}}'
)


def owned() -> int:
    """Bytes of this process that are not mapped from a file (Linux)."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return 1024 * int(found[1])


class Peak:
    """The highest value of `owned` while the context is open."""

    def __enter__(self) -> Peak:
        self.bytes = owned()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            self.bytes = max(self.bytes, owned())


def random_pairs(languages: Sequence[str], pairs: int, layers: int, hidden_size: int) -> Iterator[PairBatch]:
    """Make ``pairs`` pairs of each language, eight at a time. The target is a noisy function of the source."""
    generator = torch.Generator().manual_seed(0)
    for language in languages:
        mixing = torch.randn(hidden_size, generator=generator)
        for start in range(0, pairs, 8):
            count = min(8, pairs - start)
            source = torch.randn(count, layers, hidden_size, generator=generator)
            target = source * mixing + 0.1 * torch.randn(source.shape, generator=generator)
            examples = [example(language, start + i) for i in range(count)]
            yield PairBatch(examples, source, target, source[:, 0])


def example(lang: str, line: int) -> Example:
    """A pair; ``line`` tells it from others."""
    row = Row(lang, instruction="", instruction_en="", output="", file="", line=line)
    return Example(row, prompt=np.array([1]), answer=np.array([1]), english=np.array([line]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, save, and print the peak."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_memory", description=__doc__)
    parser.add_argument("--hidden-size", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--languages", nargs="+", default=["de", "hi", "sw"])
    parser.add_argument("--pairs", type=int, default=64, help="Of each language.")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fit-memory-") as name:
        directory = Path(name)
        (directory / "fit").mkdir()
        (directory / "checkpoint").mkdir()
        (directory / "checkpoint" / "config.json").write_text(CONFIG.format(options), "utf-8")
        before, start = owned(), time.perf_counter()
        batches = random_pairs(options.languages, options.pairs, options.layers, options.hidden_size)
        with Peak() as peak:
            transforms, facts = fit_transforms(batches, FitSettings(), directory / "fit")
            connection = Connection(torch.zeros(options.layers, options.hidden_size), transforms)
            save_connection(directory / "checkpoint", connection, options.languages)
    print(
        f"H {options.hidden_size}, L {options.layers}, {len(options.languages)} languages of {options.pairs} pairs: "
        f"{len(transforms)} matrices, ridge {facts['ridge']:.3g}, shrinkage {facts['shrinkage']}; "
        f"{(time.perf_counter() - start) / 60:.1f} minutes; memory {peak.bytes / 1e9:.2f} GB, "
        f"of which {before / 1e9:.2f} GB before the fit"
    )


if __name__ == "__main__":
    main()
