"""Train a tuned model for some more steps, plain or connected, and write its scores to one JSON file.

    python -m experiments.train --system cc --seed 0 --from DIR --train TRAIN.jsonl --dev DEV.jsonl --output DIR

Every system sees the same rows in the same batches for the same number of steps. `SYSTEMS` says how they differ. A
result that exists is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from cc_core.connection import Connection
from cc_core.names import GLOBAL
from cc_train.data.batches import PairCollator, PairDataset
from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example
from cc_train.fit.least_squares import NormalEquations
from cc_train.fit.pairs import capture_pairs
from cc_train.two_pass.extensions import ExtendedDecisionMaker, initial_projection
from cc_train.two_pass.model import TwoPassModel
from experiments import rows
from experiments.score import score
from experiments.tail import batches


@dataclass(frozen=True)
class System:
    """How a system is trained.

    Args:
        connected: it has a connection.
        scale: the connection scale (`cc_train.two_pass.extensions`); None for no projection.
        learns_projection: the projection is trained too.
        layer: the Decision Maker always chooses this one, so that it cannot turn to layers that say nothing.
        frozen: only the connection is trained.
        trained: if False, no step is made, and the scores are those of the model that all others start from.
    """

    connected: bool
    scale: float | None = None
    learns_projection: bool = False
    layer: int | None = None
    frozen: bool = False
    trained: bool = True


SYSTEMS = {
    "base": System(False, trained=False),
    "warm": System(False, trained=False),
    "sft": System(False),
    "both": System(False),
    "cc_raw": System(True),
    "cc": System(True, scale=0.3, learns_projection=True),
    "cc_held": System(True, scale=0.3, learns_projection=True, layer=14),
    "cc_fixed": System(True, scale=0.3),
    "connection_raw": System(True, frozen=True),
    "connection": System(True, scale=0.3, learns_projection=True, frozen=True),
}
FIT_PAIRS = 270
PROJECTION_PAIRS = 96
RIDGE = 1e-3


def order(examples: list[Example], steps: int, size: int, seed: int) -> list[list[Example]]:
    """Batches of rows with similar lengths, the same for every system with this seed."""
    generator = random.Random(seed)
    some = generator.sample(examples, steps * size)
    grouped = batches(some, size)
    generator.shuffle(grouped)
    return grouped


def learning_rate(step: int, steps: int) -> float:
    """The learning rate as a share of its peak: warm-up over a tenth of the steps, then a cosine."""
    return min(1.0, (step + 1) / max(1, steps // 10)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(
    model: TwoPassModel, grouped: list[list[Example]], encoder: ChatEncoder, rate: float, connection_rate: float
) -> list[float]:
    """Fine-tune all that is not frozen; return the loss of each step."""
    weights = [p for p in model.language_model.parameters() if p.requires_grad]
    own = [] if model.decision is None else [p for p in model.decision.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": p, "rate": r} for p, r in ((weights, rate), (own, connection_rate)) if p],
        weight_decay=0.0,
        fused=True,
    )
    collate = PairCollator(encoder.pad_id)
    history = []
    model.train()
    for step, group in enumerate(grouped):
        for settings in optimizer.param_groups:
            settings["lr"] = settings["rate"] * learning_rate(step, len(grouped))
        dataset = PairDataset(group)
        batch = collate([dataset[i] for i in range(len(group))])
        del batch["row"]
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights + own, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        history.append(round(loss.item(), 4))
        if step % 5 == 4:
            print(f"step {step + 1}: {sum(history[-5:]) / 5:.3f}", time.strftime("%T"), flush=True)
    return history


@torch.no_grad()
def hold(decision: ExtendedDecisionMaker, layer: int, embedding: Tensor) -> None:
    """Make ``decision`` choose ``layer`` for every prompt. All prompts end alike, so ``e`` [H] is the same."""
    decision.weight.requires_grad_(False).zero_()
    decision.weight[layer] = 10 * embedding / embedding.norm()  # noise of unit scale does not change it


@torch.no_grad()
def fit(model: PreTrainedModel, decision: ExtendedDecisionMaker, pairs: list[Example], pad_id: int) -> Connection:
    """Fit one global matrix. The target is what training saw: projected English activations."""
    equations: NormalEquations | None = None
    for batch in capture_pairs(model, pairs, pad_id, batch_size=24):
        equations = equations or NormalEquations(batch.source.shape[-1])
        equations.add(batch.source, decision.project(batch.target))
    assert equations is not None
    return Connection(decision.weight, {GLOBAL: equations.solve(RIDGE * equations.scale())})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=SYSTEMS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--from", dest="start", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path("outputs/evidence/weights"))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=16, help="rows a step")
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--connection-rate", type=float, default=1e-3)
    options = parser.parse_args(arguments)
    result = options.output / f"{options.system}-{options.seed}.json"
    if result.exists():
        print(f"{result} is there")
        return
    system = SYSTEMS[options.system]
    language_model = AutoModelForCausalLM.from_pretrained(options.start, dtype=torch.float32)
    language_model.config.use_cache = False
    language_model.get_input_embeddings().requires_grad_(False)
    if system.frozen:
        language_model.requires_grad_(False)
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(options.start), language_model.generation_config)
    examples = rows.load(options.train, encoder, english=True)
    connected = [e for e in examples if e.row.connected]
    grouped = order(examples, options.steps if system.trained else 0, options.batch, options.seed)

    decision = None
    torch.manual_seed(options.seed)
    if system.connected:
        matrix = None
        if system.scale is not None:
            sample = random.Random(options.seed).sample(connected, min(PROJECTION_PAIRS, len(connected)))
            captured = [b.target for b in capture_pairs(language_model, sample, encoder.pad_id, batch_size=24)]
            matrix = initial_projection(torch.cat(captured), system.scale)
        decision = ExtendedDecisionMaker(
            language_model.config.num_hidden_layers, language_model.config.hidden_size, projection=matrix
        )
        if decision.mixing is not None:
            decision.mixing.requires_grad_(system.learns_projection)
        if system.layer is not None:
            (first,) = {int(e.prompt[-1]) for e in connected}
            hold(decision, system.layer, language_model.get_input_embeddings()(torch.tensor(first)))
    model = TwoPassModel(language_model, decision)
    history = train(model, grouped, encoder, options.rate, options.connection_rate)
    choices = model.take_choices()

    language_model.train(False)
    language_model.config.use_cache = True
    language_model.bfloat16()  # as it is saved and served
    connection = None
    if decision is not None:
        pairs = random.Random(0).sample(connected, min(FIT_PAIRS, len(connected)))
        connection = fit(language_model, decision, pairs, encoder.pad_id)
    scores = score(
        language_model,
        connection,
        rows.load(options.dev, encoder),
        encoder,
        None if decision is None else decision.projection,
        accepted=rows.accepted(options.dev),
    )
    scores["training"] = {
        "options": {name: getattr(options, name) for name in ("steps", "batch", "rate", "connection_rate", "seed")},
        "system": asdict(system),
        "loss": history,
        "choices": None if choices is None else choices.tolist(),
    }
    kept = options.weights / f"{options.system}-{options.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    state = {n: p.detach().bfloat16() for n, p in language_model.named_parameters() if p.requires_grad}
    save_file(state, kept / "trained.safetensors")
    if connection is not None and decision is not None:
        save_file(
            {n: p.detach().contiguous() for n, p in connection.named_parameters()}, kept / "connection.safetensors"
        )
        if decision.projection is not None:
            save_file({"projection": decision.projection.detach().contiguous()}, kept / "projection.safetensors")
    options.output.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(scores, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main()
