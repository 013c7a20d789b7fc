"""Measure how much of a batch is padding, in random order and by length: ``python -m benchmarks.padding``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import torch
from transformers import AutoTokenizer

from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example
from cc_train.data.loading import load_examples
from cc_train.training.sampling import EpochLengthSampler, cost


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.padding", description=__doc__)
    parser.add_argument("--model", default="models/gemma3-270m", help="Directory with the tokenizer.")
    parser.add_argument("--data", nargs="+", default=["cc_train/data/sample.jsonl"], help="Parallel rows.")
    parser.add_argument("--batch", type=int, default=8, help="Rows in a batch.")
    parser.add_argument("--max-rows", type=int, help="Measure on a random sample of this many rows.")
    options = parser.parse_args(arguments)
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(options.model))
    examples = load_examples(options.data, encoder, max_rows=options.max_rows, say=print)[0]
    shuffled = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)).tolist()
    grouped = EpochLengthSampler(options.batch, [cost(example) for example in examples], seed=0)
    for name, order in (("random", shuffled), ("by length", grouped)):
        print(f"{name:<10} {padding_share(examples, order, options.batch):.1%} of the tokens are padding")
    return 0


def padding_share(examples: Sequence[Example], order: Iterable[int], batch: int) -> float:
    """The share of padding in the tokens of both passes, with rows batched in ``order``."""
    indices = list(order)
    real = padded = 0
    for start in range(0, len(indices), batch):
        chosen = [examples[index] for index in indices[start : start + batch]]
        for lengths in (
            [len(example.prompt) + len(example.answer) for example in chosen],
            [len(example.english) for example in chosen if example.row.connected],
        ):
            real += sum(lengths)
            padded += len(lengths) * max(lengths, default=0)
    return 1 - real / padded


if __name__ == "__main__":
    sys.exit(main())
