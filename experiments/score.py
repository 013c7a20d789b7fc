"""Score a model on dev rows: the answers' loss, and greedy answers, under several conditions.

A condition says which activations the connection gets. Each row's numbers are kept, so that `experiments.compare` can
compare systems row by row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cc_core.connection import Connection, best_layer, decision_logits
from cc_core.names import GLOBAL, matrix_for
from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example
from cc_train.evaluation.measures.questions import score_question
from experiments.tail import Tails, batches, generate, losses, run_prompts

CONDITIONS = ("plain", "transform", "english", "shuffled", "identity", "random", "mean")
ANSWERED = ("plain", "transform", "english", "mean")
"""Conditions that also generate."""
MAX_TOKENS = 40
BATCH = 24


@torch.no_grad()
def mean_vectors(
    model: PreTrainedModel, connection: Connection, examples: Sequence[Example], pad_id: int
) -> dict[str, Tensor]:
    """By language, the mean over ``examples`` of what is served, ``[H]``: it says nothing about a prompt."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    for group in batches(examples, BATCH):
        tails = run_prompts(model, group, pad_id)
        given = vector(connection, tails, "transform")
        assert given is not None
        for example, each in zip(group, given[0], strict=True):
            found[example.row.lang].append(each)
    return {lang: torch.stack(each).mean(0) for lang, each in found.items()}


def vector(
    connection: Connection,
    tails: Tails,
    condition: str,
    *,
    noise: Tensor | None = None,
    projection: Tensor | None = None,
    means: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor] | None:
    """The vector that ``condition`` injects ``[B, H]``, and its layer ``[B]``; None for ``plain``.

    ``english`` uses the true English activations, as training did. ``shuffled`` uses those of another row in the batch,
    and ``identity`` the row's own, untransformed. All three go through ``projection`` ``[H, H]``, as in training.
    ``random`` is the row's own times ``noise`` ``[H, H]``, and ``mean`` what ``means`` has for its language.
    """
    if condition == "plain":
        return None
    names = [matrix_for(e.row.lang, connection.names) for e in tails.examples]
    decision = connection.decide_each(names, tails.source, tails.embedding)
    if condition == "transform":
        return decision.vector, decision.layer
    if condition == "mean":
        assert means is not None
        return torch.stack([means[e.row.lang] for e in tails.examples]), decision.layer
    if condition == "random":
        assert noise is not None
        given = tails.source @ noise
    else:
        given = {
            "english": tails.english,
            "shuffled": tails.english.roll(1, 0),
            "identity": tails.source,
        }[condition]
        if projection is not None:
            given = given @ projection
    layer = best_layer(decision_logits(connection.decision, given.mean(1), tails.embedding))
    return given[range(len(given)), layer], layer


@torch.no_grad()
def score(
    model: PreTrainedModel,
    connection: Connection | None,
    examples: list[Example],
    encoder: ChatEncoder,
    projection: Tensor | None = None,
    accepted: Mapping[str, Sequence[str]] | None = None,
    means: Mapping[str, Tensor] | None = None,
    max_tokens: int = MAX_TOKENS,
) -> dict[str, Any]:
    """By condition, for each row: ``loss`` (summed, nats), ``first`` (of the first token), ``layer`` and its ``norm``.

    With ``accepted`` answers by row id, those in `ANSWERED` also have ``answer`` and what `score_question` measures.
    Without ``means`` (`mean_vectors`), ``mean`` is not among them.
    """
    conditions = [c for c in CONDITIONS if c == "plain" or (connection and (c != "mean" or means))]
    out: dict[str, Any] = {
        "rows": [],
        "lang": [],
        "tokens": [],
        **{c: {"loss": [], "first": [], "layer": [], "norm": []} for c in conditions},
    }
    noise = None
    if connection:
        global_matrix = connection.transforms[GLOBAL]
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(global_matrix.shape, generator=generator)
        noise *= global_matrix.norm() / noise.norm()
    for group in batches(examples, BATCH):
        tails = run_prompts(model, group, encoder.pad_id)
        out["rows"] += [e.row.id for e in group]
        out["lang"] += [e.row.lang for e in group]
        out["tokens"] += [len(e.answer) for e in group]
        for condition in conditions:
            given = (
                vector(connection, tails, condition, noise=noise, projection=projection, means=means)
                if connection
                else None
            )
            loss = losses(model, tails, given[0] if given else None)
            found = out[condition]
            found["loss"] += [round(x, 5) for x in loss.sum(1).tolist()]
            found["first"] += [round(x, 5) for x in loss[:, 0].tolist()]
            found["norm"] += [round(x, 3) for x in given[0].norm(dim=1).tolist()] if given else []
            found["layer"] += given[1].tolist() if given else []
            if accepted is None or condition not in ANSWERED:
                continue
            ids = generate(model, tails, given[0] if given else None, encoder.end, max_tokens)
            for example, answer in zip(group, ids, strict=True):
                text = str(encoder.tokenizer.decode(answer, skip_special_tokens=True)).strip()
                found.setdefault("answer", []).append(text)
                for name, value in score_question(text, accepted[example.row.id], example.row.lang).items():
                    found.setdefault(name, []).append(round(value, 4))
    return out
