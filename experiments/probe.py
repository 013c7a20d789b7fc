"""How an injected activation affects a tuned model that never saw one: norms, and the answer's loss by layer.

    python -m experiments.probe --model DIR --dev DEV.jsonl --output docs/results/probe/probe.json

A row's own English activation is compared with the mean over all rows and with another row's; neither says anything
about the row. If all three cost the same, the injected activation disturbs the model and carries no information.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from cc_train.data.chat import ChatEncoder
from cc_train.two_pass.extensions import initial_projection
from experiments import rows
from experiments.tail import Tails, batches, losses, run_prompts

BATCH = 24
PROBES = [("english", 1.0), ("english", 0.1), ("constant", 1.0), ("shuffled", 1.0), ("projected", 1.0)]
"""Kind of activation, and its factor. ``projected`` is ``english`` after a projection to scale 0.3."""


def norms(tails: list[Tails]) -> dict[str, Any]:
    """Medians over rows: norms of ``a_l`` by layer and of ``e``, and the share of ``a_l`` that differs between rows."""
    english = torch.cat([t.english for t in tails])
    size = english.norm(dim=-1).median(dim=0).values
    own = (english - english.mean(dim=0)).norm(dim=-1).median(dim=0).values
    embedding = torch.cat([t.embedding for t in tails]).norm(dim=-1).median()
    return {
        "activation": [round(x, 1) for x in size.tolist()],
        "own_share": [round(x, 3) for x in (own / size).tolist()],
        "embedding": round(embedding.item(), 1),
    }


def given(kind: str, tails: Tails, mean: Tensor, matrix: Tensor) -> Tensor:
    """The vectors of one kind, for each layer, ``[B, L, H]``."""
    return {
        "english": tails.english,
        "constant": mean.expand_as(tails.english),
        "shuffled": tails.english.roll(1, 0),
        "projected": tails.english @ matrix,
    }[kind]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=72)
    options = parser.parse_args()
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    model.eval()
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(options.model), model.generation_config)
    examples = rows.load(options.dev, encoder)[: options.rows]
    tails = [run_prompts(model, group, encoder.pad_id) for group in batches(examples, BATCH)]
    english = torch.cat([t.english for t in tails])
    mean, matrix = english.mean(dim=0), initial_projection(english, 0.3)

    residual: list[Tensor] = []
    hook = model.model.layers[1].register_forward_pre_hook(lambda _m, args: residual.append(args[0][:, 0].norm(dim=-1)))
    plain = torch.cat([losses(model, t, tokens=1)[:, 0] for t in tails])
    hook.remove()
    found: dict[str, Any] = {
        "rows": len(plain),
        "norms": {**norms(tails), "residual_entering_layer_1": round(torch.cat(residual).median().item(), 1)},
        "plain": round(plain.mean().item(), 4),
    }
    for kind, scale in PROBES:
        vectors = [scale * given(kind, t, mean, matrix) for t in tails]
        loss = torch.stack(
            [
                torch.cat([losses(model, t, v[:, layer], tokens=1)[:, 0] for t, v in zip(tails, vectors, strict=True)])
                for layer in range(english.shape[1])
            ],
            dim=1,
        )
        found[f"{kind} x {scale:g}"] = {
            "by_layer": [round(x, 3) for x in (loss.mean(dim=0) - plain.mean()).tolist()],
            "best_of_all_or_plain": round((torch.minimum(loss.min(dim=1).values, plain) - plain).mean().item(), 3),
        }
        print(kind, scale, found[f"{kind} x {scale:g}"], flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
