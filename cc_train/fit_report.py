"""What the Transform Matrices are worth, on pairs held out of the fit.

R² and cosine compare activations, by layer and over all layers; layers differ in norm by orders of magnitude, so the
overall figure says little. What serving depends on is the agreement of the choice, and the answer's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cc_train.activations import connected_at
from cc_train.connection import GLOBAL, Connection, decision_logits
from cc_train.data import PairCollator, PairDataset
from cc_train.parallel import ParallelModel
from cc_train.transform import PairBatch

ALL = "all"
TRANSFORM = "transform"
IDENTITY = "identity"
ENGLISH = "english"
PLAIN = "plain"


class Score:
    """Agreement of predicted with true English activations, summed over pairs; constant in their number.

    Args:
        layers: L.
        hidden_size: H.
    """

    def __init__(self, layers: int, hidden_size: int) -> None:
        self.pairs = 0
        self.same_choice = 0
        self.error, self.cosine, self.square = torch.zeros(3, layers, dtype=torch.float64)
        self.total = torch.zeros(layers, hidden_size, dtype=torch.float64)

    def add(self, predicted: Tensor, target: Tensor, same_choice: Tensor) -> None:
        """Add B pairs: ``predicted`` and ``target`` [B, L, H], ``same_choice`` [B] bool."""
        predicted, target = predicted.double().cpu(), target.double().cpu()
        self.pairs += len(target)
        self.same_choice += int(same_choice.sum())
        self.error += (predicted - target).square().sum(dim=(0, 2))
        self.cosine += F.cosine_similarity(predicted, target, dim=-1).sum(dim=0)
        self.square += target.square().sum(dim=(0, 2))
        self.total += target.sum(dim=0)

    def summary(self) -> dict[str, Any]:
        """``r2`` and ``cosine`` over all layers and by layer, and ``agreement`` of the choice, each at most 1.

        R² is None where the true activations do not vary.
        """
        layers = len(self.error)
        variation = self.square - self.total.square().sum(dim=1) / self.pairs
        overall = self.square.sum() - self.total.sum(dim=0).square().sum() / (self.pairs * layers)
        cosine = self.cosine / self.pairs
        return {
            "r2": _r2(self.error.sum(), overall, self.square.sum()),
            "cosine": _rounded(cosine.mean()),
            "agreement": _rounded(torch.tensor(self.same_choice / self.pairs)),
            "r2_by_layer": [_r2(*values) for values in zip(self.error, variation, self.square, strict=True)],
            "cosine_by_layer": [_rounded(c) for c in cosine],
        }


@dataclass
class AnswerLoss:
    """Cross-entropy of the answers in nats per token, by what the connection was given."""

    total: dict[str, float] = field(default_factory=dict)
    tokens: int = 0

    def summary(self) -> dict[str, float]:
        return {name: round(value / self.tokens, 4) for name, value in self.total.items()}


def score_transforms(
    model: ParallelModel,
    connection: Connection,
    batches: Iterable[PairBatch],
    pad_id: int,
    on_batch: Callable[[int], object] = lambda _pairs: None,
) -> dict[str, dict[str, Any]]:
    """Score every language's matrix, and identity, against true English activations.

    Args:
        model: the language model as served; its Decision Maker is not used.
        connection: the fitted connection.
        batches: held-out pairs.
        pad_id: fills batches.
        on_batch: called with the number of pairs done, for progress.

    Returns:
        By language, and ``all``: ``pairs``, ``matrix`` (the name served), `Score.summary` of ``transform`` and of
        ``identity``, and ``answer_loss`` of ``plain``, ``identity``, ``transform`` and ``english``, the bound.
    """
    shape = connection.decision.shape
    collate = PairCollator(pad_id, connection.anchor_offset)
    scores: dict[str, dict[str, Score]] = {}
    losses: dict[str, AnswerLoss] = {}
    with torch.inference_mode():
        for batch in batches:
            name = batch.lang if batch.lang in connection.names else GLOBAL
            given = {
                IDENTITY: batch.source,
                TRANSFORM: batch.source @ connection.transforms[name].to(batch.source.device),
                ENGLISH: batch.target,
            }
            choices = {key: _choice(connection.decision, value, batch.embedding) for key, value in given.items()}
            vectors = {key: value[range(len(value)), choices[key]] for key, value in given.items()}
            answers = _answer_losses(model, collate, batch, vectors)
            tokens = sum(len(pair.answer) for pair in batch.pairs)
            for group in (batch.lang, ALL):
                for key in (TRANSFORM, IDENTITY):
                    score = scores.setdefault(group, {}).setdefault(key, Score(*shape))
                    score.add(given[key], batch.target, choices[key] == choices[ENGLISH])
                loss = losses.setdefault(group, AnswerLoss())
                loss.tokens += tokens
                for key, value in answers.items():
                    loss.total[key] = loss.total.get(key, 0.0) + value
            on_batch(len(batch.pairs))
    return {
        group: {
            "pairs": scores[group][IDENTITY].pairs,
            "matrix": None if group == ALL else (group if group in connection.names else GLOBAL),
            **{key: score.summary() for key, score in scores[group].items()},
            "answer_loss": losses[group].summary(),
        }
        for group in [ALL, *sorted(set(scores) - {ALL})]
        if group in scores
    }


def brief(report: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The overall figures of `score_transforms`, for ``config.json``."""
    if ALL not in report:
        return {}
    whole = report[ALL]
    figures = {key: {name: whole[key][name] for name in ("r2", "cosine", "agreement")} for key in (TRANSFORM, IDENTITY)}
    return {"held_out_pairs": whole["pairs"], **figures, "answer_loss": whole["answer_loss"]}


def _choice(weight: Tensor, activations: Tensor, embedding: Tensor) -> Tensor:
    """The chosen layer ``[B]``."""
    return decision_logits(weight.to(embedding.device), activations.mean(dim=-2), embedding).argmax(dim=-1)


def _answer_losses(
    model: ParallelModel, collate: PairCollator, batch: PairBatch, vectors: dict[str, Tensor]
) -> dict[str, float]:
    """Summed cross-entropy of the batch's answers, plain and with each vector ``[B, H]``."""
    dataset = PairDataset(batch.pairs)
    inputs = {k: v.to(batch.source.device) for k, v in collate([dataset[i] for i in range(len(dataset))]).items()}
    losses = {}
    for name, vector in [(PLAIN, None), *vectors.items()]:
        given = () if vector is None else (partial(connected_at, model.language_model, inputs["anchors"], vector),)
        logits, targets = model.answer_logits(inputs["input_ids"], inputs["attention_mask"], inputs["labels"], *given)
        losses[name] = F.cross_entropy(logits.float(), targets, reduction="sum").item()
    return losses


def _r2(error: Tensor, variation: Tensor, square: Tensor) -> float | None:
    # Differences of nearly equal sums: what is left of a constant is rounding.
    return _rounded(1 - error / variation) if variation > 1e-9 * square else None


def _rounded(value: Tensor) -> float:
    return round(value.item(), 4)
