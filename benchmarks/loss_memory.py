"""What the loss in chunks saves, and what it costs: ``python -m benchmarks.loss_memory``.

It makes a step of plain fine-tuning on a small random Llama, whose vocabulary is so large that logits take nearly all
of the memory. Each way has its own process, and so its own peak of memory; the processes take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from multiprocessing import get_context

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.machine import peak_bytes
from cc_train.two_pass.model import TwoPassModel


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=262_144)
    parser.add_argument("--answers", type=int, default=1024, help="answer tokens in the batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for name, chunk in (("at once", 0), ("in chunks", None)):
            with get_context("spawn").Pool(1) as pool:
                found.setdefault(name, []).append(pool.apply(measure, (options.vocabulary, options.answers, chunk)))
    for name, values in found.items():
        seconds, peak = (statistics.median(column) for column in zip(*values, strict=True))
        print(
            f"logits {name:<9}, median of {options.rounds}: {seconds:6.2f} s a step, "
            f"{peak:6.2f} GB above the model and its gradients"
        )


def measure(vocabulary: int, answers: int, chunk: int | None) -> tuple[float, float]:
    """Seconds of a step, and the gigabytes that its second one needed beyond weights and gradients."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    module = TwoPassModel(LlamaForCausalLM(config), None, loss_chunk=chunk).train()  # type: ignore[no-untyped-call]
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    rows, prompt = 4, 32
    ids = torch.randint(vocabulary, (rows, prompt + answers // rows))
    labels = ids.clone()
    labels[:, :prompt] = -100
    anchors = torch.full((rows,), prompt - 1)
    step(module, ids[:, : prompt + 2], labels[:, : prompt + 2], anchors)  # what a first step allocates once
    before, started = peak_bytes(), time.perf_counter()
    step(module, ids, labels, anchors)
    return time.perf_counter() - started, (peak_bytes() - before) / 1e9


def step(module: TwoPassModel, ids: Tensor, labels: Tensor, anchors: Tensor) -> None:
    """One forward and backward pass."""
    mask = torch.ones_like(ids)
    plain = torch.zeros(len(ids), dtype=torch.bool)
    output = module(
        labels,
        input_ids=ids,
        attention_mask=mask,
        english_input_ids=ids[:, :1],
        english_attention_mask=mask[:, :1],
        anchors=anchors,
        connected=plain,
    )
    output["loss"].backward()


if __name__ == "__main__":
    main()
