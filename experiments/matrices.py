"""Fit a trained system's Transform Matrix again: with more pairs, and with other weights for the layers.

    python -m experiments.matrices --system cc_raw --seed 0 --from DIR --train TRAIN.jsonl --dev DEV.jsonl --output FILE

Where all layers weigh the same, the largest dominates the fit; it need not be the layer that is chosen.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from cc_core.connection import Connection, best_layer, decision_logits
from cc_core.names import GLOBAL
from cc_train.data.chat import ChatEncoder
from cc_train.fit.least_squares import NormalEquations
from cc_train.fit.pairs import capture_pairs
from experiments import rows
from experiments.tail import Tails, batches, losses, run_prompts

PAIRS = (270, 1500)
RIDGES = (1e-3, 1e-2, 1e-1)


def combined(layers: list[NormalEquations], weights: list[float]) -> NormalEquations:
    """The weighted sum of all layers' normal equations."""
    out = NormalEquations(len(layers[0].xx))
    for layer, weight in zip(layers, weights, strict=True):
        out.xx.add_(layer.xx, alpha=weight)
        out.xy.add_(layer.xy, alpha=weight)
        out.yy += weight * layer.yy
        out.rows += layer.rows
    return out


def choices_of(connection: Connection, tails: list[Tails]) -> list[float]:
    """How often true English activations choose each layer, as a share."""
    logits = [decision_logits(connection.decision, t.english.mean(1), t.embedding) for t in tails]
    layers = best_layer(torch.cat(logits))
    return (torch.bincount(layers, minlength=connection.num_layers) / len(layers)).tolist()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--from", dest="start", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path("outputs/evidence/weights"))
    options = parser.parse_args()
    kept = options.weights / f"{options.system}-{options.seed}"
    model: Any = AutoModelForCausalLM.from_pretrained(options.start, dtype=torch.bfloat16)
    model.eval()
    _, unknown = model.load_state_dict(load_file(kept / "trained.safetensors"), strict=False)
    assert not unknown, unknown
    state = load_file(kept / "connection.safetensors")
    connection = Connection(state["decision"], {GLOBAL: state[f"transforms.{GLOBAL}"]})
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(options.start), model.generation_config)
    tails = [run_prompts(model, group, encoder.pad_id) for group in batches(rows.load(options.dev, encoder), 24)]
    tokens = sum(len(e.answer) for t in tails for e in t.examples)

    def scored(vectors: list[Tensor | None]) -> dict[str, float]:
        found = [losses(model, t, v) for t, v in zip(tails, vectors, strict=True)]
        return {
            "loss": round(float(sum(x.sum() for x in found)) / tokens, 4),
            "first": round(float(torch.cat([x[:, 0] for x in found]).mean()), 4),
        }

    def with_matrix(matrix: Tensor) -> dict[str, float]:
        one = Connection(connection.decision, {GLOBAL: matrix})
        return scored([one.decide(GLOBAL, t.source, t.embedding).vector for t in tails])

    def given(activations: list[Tensor]) -> dict[str, float]:
        identity = Connection(connection.decision, {GLOBAL: torch.eye(connection.hidden_size)})
        return scored([identity.decide(GLOBAL, a, t.embedding).vector for a, t in zip(activations, tails, strict=True)])

    shares = choices_of(connection, tails)
    results: dict[str, Any] = {
        "chosen": [round(share, 3) for share in shares],
        "plain": scored([None] * len(tails)),
        "english": given([t.english for t in tails]),
        "identity": given([t.source for t in tails]),
    }
    print(json.dumps(results), flush=True)
    connected = [e for e in rows.load(options.train, encoder) if e.row.connected]
    chosen = random.Random(0).sample(connected, max(PAIRS))
    layers = [NormalEquations(connection.hidden_size) for _ in shares]
    for start, stop in zip((0, *PAIRS), PAIRS, strict=False):
        for batch in capture_pairs(model, chosen[start:stop], encoder.pad_id, batch_size=30):
            for layer, equations in enumerate(layers):
                equations.add(batch.source[:, layer], batch.target[:, layer])
        kinds = {
            "all layers": [1.0] * len(layers),
            "all layers, each to the same size": [layer.rows / layer.yy for layer in layers],
            "layers as often as they are chosen": shares,
        }
        for kind, weights in kinds.items():
            equations = combined(layers, weights)
            for ridge in RIDGES:
                name = f"{stop} pairs, {kind}, ridge {ridge:g}"
                results[name] = with_matrix(equations.solve(ridge * equations.scale()).float())
                print(name, results[name], flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
