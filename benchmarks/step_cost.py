"""Compare a step of CC-Tuning with one of plain fine-tuning on the same rows: ``python -m benchmarks.step_cost``.

Each kind of step has its own process, and so its own peak of memory. The processes take turns, so that other load on
the machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.machine import peak_bytes

if TYPE_CHECKING:
    from cc_train.data.encoding import Example
    from cc_train.training.alignment_targets import AlignmentTargets
    from cc_train.two_pass.model import TwoPassModel

KINDS = {
    "sft": "SFT",
    "cc": "CC",
    "cc-whole": "CC, logits of every token",
    "connection": "CC, frozen base",
    "connection-again": "CC, frozen base, English every time",
    "sft-align": "SFT, aligned",
    "cc-align": "CC, aligned",
    "cc-by-length": "CC, batches by length",
    "cc-padding-free": "CC, without padding",
    "sft-lora": "SFT, LoRA",
    "cc-lora": "CC, LoRA",
}
BASELINES = {kind: "sft" for kind in KINDS if kind != "sft" and not kind.endswith("lora")} | {
    "cc-lora": "sft-lora",
    "cc-by-length": "cc",
    "cc-padding-free": "cc",
}


@dataclass(frozen=True)
class Cost:
    """What one kind of step costs. Times are means over the rounds, which read every row once.

    Args:
        seconds: of the whole step.
        passes: seconds of its forward and backward passes, without the optimiser.
        peak: most memory that the process ever held, MB; on a GPU, the most that was allocated there.
        ratio: ``seconds`` divided by the baseline's; None if there is no baseline.
        passes_ratio: ``passes`` divided by the baseline's.
    """

    seconds: float
    passes: float
    peak: float
    ratio: float | None
    passes_ratio: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_cost", description=__doc__)
    parser.add_argument("--model", default="models/gemma3-270m", help="Directory of the base model.")
    parser.add_argument("--data", nargs="+", default=["cc_train/data/sample.jsonl"], help="Parallel rows.")
    parser.add_argument("--batch", type=int, default=8, help="Rows in a step.")
    parser.add_argument("--rounds", type=int, default=8, help="Steps of each kind, after one to warm up.")
    parser.add_argument("--layers", type=int, help="Keep this many layers of the model; if not given, all.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["sft", "cc"], help="What is compared.")
    parser.add_argument("--cpu-time", action="store_true", help="Count processor time, which no other load changes.")
    parser.add_argument("--freeze-embeddings", action="store_true", help="Do not train the embeddings.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file too.")
    options = parser.parse_args(arguments)
    costs = measure(options)
    unit = "processor time" if options.cpu_time else "the clock"
    title = f"means over {options.rounds} steps of {options.batch} rows, seconds of {unit}"
    Console().print(table(costs, title))
    if options.json:
        facts = {
            name: vars(options)[name]
            for name in ("model", "data", "batch", "rounds", "layers", "freeze_embeddings", "cpu_time")
        }
        options.json.write_text(json.dumps({**facts, "costs": {k: asdict(c) for k, c in costs.items()}}, indent=2))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Cost]:
    """Costs by kind. In each round all kinds get the same batch, but those that order the rows in another way."""
    context = torch.multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Any, Any]] = {}
    for kind in options.kinds:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(kind, options, there), daemon=True)
        process.start()
        there.close()  # so that a process that dies ends the pipe
        workers[kind] = process, here
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in options.kinds}
    for turn in range(options.rounds + 1):
        turns = list(options.kinds)
        random.Random(turn).shuffle(turns)
        for kind in turns:
            took = _answer(kind, *workers[kind], max(0, turn - 1))
            if turn:  # the first is warm-up
                times[kind].append(took)
    peaks = {}
    for kind, (process, pipe) in workers.items():
        peaks[kind] = _answer(kind, process, pipe, None)
        process.join()
    return {kind: _cost(times, kind, peaks[kind]) for kind in options.kinds}


def _answer(kind: str, process: Any, pipe: Pipe, sent: int | None) -> Any:
    """What the process of ``kind`` answers to ``sent``; ends the command if the process has died."""
    try:
        pipe.send(sent)
        return pipe.recv()
    except (EOFError, OSError):
        process.join()
        sys.exit(
            f"the process that measures {kind} ended with exit code {process.exitcode}; its own messages are above. "
            "If memory ran out (exit code -9), measure fewer --kinds at once, or lower --layers"
        )


def _cost(times: dict[str, list[tuple[float, float]]], kind: str, peak: float) -> Cost:
    whole, passes = map(statistics.mean, zip(*times[kind], strict=True))
    baseline = times.get(BASELINES.get(kind, ""))
    if not baseline:
        return Cost(whole, passes, peak, None, None)
    other_whole, other_passes = map(statistics.mean, zip(*baseline, strict=True))
    return Cost(whole, passes, peak, whole / other_whole, passes / other_passes)


def table(costs: dict[str, Cost], title: str) -> Table:
    """A table with a row for each kind."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "seconds", "ratio", "passes", "ratio", "peak MB"):
        shown.add_column(name, justify="left" if name == "step" else "right")
    for kind, cost in costs.items():
        ratio, passes = (f"{r:.2f}" if r else "-" for r in (cost.ratio, cost.passes_ratio))
        shown.add_row(KINDS[kind], f"{cost.seconds:.2f}", ratio, f"{cost.passes:.2f}", passes, f"{cost.peak:.0f}")
    return shown


def _work(kind: str, options: argparse.Namespace, pipe: Pipe) -> None:
    """Run one kind's process: make a step for every number received, and send the peak at the end."""
    from transformers import AutoTokenizer

    from cc_train.data.batches import PairCollator, PairDataset
    from cc_train.data.chat import ChatEncoder
    from cc_train.data.encoding import encode_rows
    from cc_train.data.reading import read_rows
    from cc_train.model.adapter import Adapter
    from cc_train.model.files import load_model
    from cc_train.training.precompute import precompute_english
    from cc_train.training.sampling import EpochLengthSampler, cost
    from cc_train.two_pass.extensions import ExtendedDecisionMaker
    from cc_train.two_pass.model import TwoPassModel

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    assert device is not None
    torch.manual_seed(0)
    model = load_model(options.model, torch.float32).to(device)  # type: ignore[arg-type]
    if options.layers:
        del model.model.layers[options.layers :]
        model.config.num_hidden_layers = options.layers
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(options.model), model.generation_config)
    rows = [row for row in read_rows(options.data)[0] if row.connected]
    random.Random(0).shuffle(rows)
    examples = encode_rows(rows[: options.batch * options.rounds], encoder, 1024)[0]
    order = list(range(len(examples)))
    if kind == "cc-by-length":
        order = list(EpochLengthSampler(options.batch, [cost(example) for example in examples], seed=0))
    if kind.startswith("connection"):
        model.requires_grad_(False)
    elif kind.endswith("lora"):
        Adapter(model, rank=16)
    elif options.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    decision = None
    if not kind.startswith("sft"):
        decision = ExtendedDecisionMaker(model.config.num_hidden_layers, model.config.hidden_size)
    aligns = kind.endswith("align")
    two_pass = TwoPassModel(model, decision, align=float(aligns), padding_free=kind == "cc-padding-free")
    two_pass = two_pass.to(device).train()
    if kind == "cc-whole":
        _make_whole(two_pass)
    known = precompute_english(two_pass, examples, encoder.pad_id) if kind == "connection" else None
    folder = ExitStack()
    targets = None
    if aligns:
        targets = _targets(two_pass, examples, encoder.pad_id, Path(folder.enter_context(TemporaryDirectory())))
    optimizer = torch.optim.AdamW([p for p in two_pass.parameters() if p.requires_grad], lr=1e-5)
    dataset, collate = PairDataset(examples), PairCollator(encoder.pad_id)
    clock = time.process_time if options.cpu_time else time.perf_counter
    while (number := pipe.recv()) is not None:
        chosen = [order[(number * options.batch + i) % len(order)] for i in range(options.batch)]
        batch = {name: value.to(device) for name, value in collate([dataset[i] for i in chosen]).items()}
        of_rows = batch.pop("row")
        if known is not None:
            batch["english_activations"] = known[of_rows.cpu()].to(device)
        start = clock()
        if targets is not None:
            batch["alignment_targets"] = targets.of(of_rows.tolist()).to(device)
        two_pass(**batch)["loss"].backward()
        _wait(device)
        passes = clock() - start
        torch.nn.utils.clip_grad_norm_(two_pass.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        pipe.send((clock() - start, passes))
    pipe.send(_peak(device))
    folder.close()


def _targets(two_pass: TwoPassModel, examples: Sequence[Example], pad_id: int, directory: Path) -> AlignmentTargets:
    from cc_train.training.alignment_targets import AlignmentTargets
    from cc_train.training.precompute import english_batches

    config = two_pass.config
    targets = AlignmentTargets(examples, directory, config.num_hidden_layers, config.hidden_size, -1)
    targets.allocate()
    targets.write(english_batches(two_pass, targets.prompts, pad_id))
    targets.publish()
    two_pass.layer_weights = targets.layer_weights().to(next(two_pass.parameters()).device)
    return targets


def _make_whole(two_pass: TwoPassModel) -> None:
    """Make both passes compute the logits of every token, as a model does by default."""
    from cc_train.model.activations import anchor_positions, capture_at
    from cc_train.model.answer_head import AnswerLogits, answer_positions

    def english(ids: Tensor, mask: Tensor) -> Tensor:
        with capture_at(two_pass.language_model, anchor_positions(mask, two_pass.anchor_offset)) as capture:
            two_pass.language_model(input_ids=ids, attention_mask=mask, use_cache=False)
        return capture.activations

    def answers(
        ids: Tensor, mask: Tensor, labels: Tensor, hooks: Any = nullcontext, _kept: None = None
    ) -> AnswerLogits:
        rows, columns = answer_positions(labels)
        with hooks():
            logits = two_pass.language_model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return AnswerLogits(logits[rows, columns], labels[rows, columns + 1])

    two_pass.english_activations = english  # type: ignore[method-assign]
    two_pass.answer_logits = answers  # type: ignore[method-assign, assignment]


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return peak_bytes() / 1e6


if __name__ == "__main__":
    sys.exit(main())
