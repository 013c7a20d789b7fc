"""What gradient checkpointing saves on long rows, and what it costs: ``python -m benchmarks.long_rows``.

It makes a step of CC-Tuning with one row on a small random Llama. The row's English prompt is as long as its own. Each
way has its own process, and so its own peak of memory; the processes take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from multiprocessing import get_context

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.machine import peak_bytes
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.model import TwoPassModel

_VOCABULARY = 1024
_ANSWER = 64


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=8192, help="tokens of prompt and answer (%(default)s)")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    found: dict[bool, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for checkpoints in (False, True):
            given = options.length, options.layers, options.hidden_size, checkpoints
            with get_context("spawn").Pool(1) as pool:
                found.setdefault(checkpoints, []).append(pool.apply(measure, given))
    for checkpoints, values in found.items():
        seconds, memory = (statistics.median(column) for column in zip(*values, strict=True))
        name = "with" if checkpoints else "without"
        print(
            f"{name:<7} gradient checkpointing, median of {options.rounds}: {seconds:6.1f} s of processor time, "
            f"{memory:5.2f} GB above the model"
        )


def measure(length: int, layers: int, hidden_size: int, checkpoints: bool) -> tuple[float, float]:
    """Processor time of a step, and the gigabytes that it needed beyond weights and gradients."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=length,
        tie_word_embeddings=True,
    )
    decision = ExtendedDecisionMaker(layers, hidden_size)
    module = TwoPassModel(LlamaForCausalLM(config), decision).train()  # type: ignore[no-untyped-call]
    if checkpoints:
        module.gradient_checkpointing_enable()
    step(module, 2 * _ANSWER)  # what a first step allocates once, gradients included
    before, started = peak_bytes(), time.process_time()
    step(module, length)
    return time.process_time() - started, (peak_bytes() - before) / 1e9


def step(module: TwoPassModel, length: int) -> None:
    """One forward and backward pass of a connected row of ``length`` tokens."""
    ids = torch.randint(_VOCABULARY, (1, length))
    labels = ids.clone()
    prompt = length - _ANSWER
    labels[:, :prompt] = -100
    mask = torch.ones_like(ids)
    anchors, connected = torch.tensor([prompt - 1]), torch.tensor([True])
    output = module(
        labels,
        input_ids=ids,
        attention_mask=mask,
        english_input_ids=ids[:, :prompt],
        english_attention_mask=mask[:, :prompt],
        anchors=anchors,
        connected=connected,
    )
    output["loss"].backward()


if __name__ == "__main__":
    main()
