"""What the Transform Matrices are worth, on pairs held out of the fit.

R² and cosine compare activations, by layer and over all layers. Layers differ in norm by orders of magnitude, so the
figure over all layers says little. Serving depends on two others: the agreement of the choice, and the answer's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cc_core.connection import Connection, best_layer, decision_logits, transform
from cc_core.names import GLOBAL, matrix_for
from cc_train.data.batches import PairCollator, PairDataset
from cc_train.fit.evidence import ALL, PairedGains
from cc_train.fit.pairs import PairBatch
from cc_train.model.activations import connected_at
from cc_train.two_pass.answer_loss import cross_entropy_by_row
from cc_train.two_pass.model import TwoPassModel

TRANSFORM = "transform"
IDENTITY = "identity"
ENGLISH = "english"
PLAIN = "plain"


class Score:
    """Agreement of predicted with true English activations, summed over pairs in constant memory.

    Args:
        layers: L.
        hidden_size: H.
    """

    def __init__(self, layers: int, hidden_size: int) -> None:
        self.pairs = 0
        self.error, self.cosine, self.square = torch.zeros(3, layers, dtype=torch.float64)
        self.total = torch.zeros(layers, hidden_size, dtype=torch.float64)
        self.chosen, self.wanted, self.agreed = torch.zeros(3, layers, dtype=torch.long)

    def add(self, predicted: Tensor, target: Tensor, choice: Tensor, true_choice: Tensor) -> None:
        """Add B pairs: ``predicted`` and ``target`` [B, L, H], and the layers that they choose, ``[B]``."""
        predicted, target = predicted.double().cpu(), target.double().cpu()
        self.pairs += len(target)
        self.error += (predicted - target).square().sum(dim=(0, 2))
        self.cosine += F.cosine_similarity(predicted, target, dim=-1).sum(dim=0)
        self.square += target.square().sum(dim=(0, 2))
        self.total += target.sum(dim=0)
        layers = len(self.error)
        for counts, layer in (
            (self.chosen, choice),
            (self.wanted, true_choice),
            (self.agreed, true_choice[choice == true_choice]),
        ):
            counts += layer.cpu().bincount(minlength=layers)

    def summary(self) -> dict[str, Any]:
        """``r2`` and ``cosine`` over all layers and by layer, and ``agreement`` of the choice, each at most 1.

        R² is None if the true activations do not vary. ``agreement_by_layer`` is over the pairs whose true
        activations choose the layer; None without such a pair. ``chosen_by_layer`` counts pairs.
        """
        layers = len(self.error)
        variation = self.square - self.total.square().sum(dim=1) / self.pairs
        overall = self.square.sum() - self.total.sum(dim=0).square().sum() / (self.pairs * layers)
        cosine = self.cosine / self.pairs
        return {
            "r2": _r2(self.error.sum(), overall, self.square.sum()),
            "cosine": _rounded(cosine.mean()),
            "agreement": _rounded(self.agreed.sum() / self.pairs),
            "r2_by_layer": [_r2(*values) for values in zip(self.error, variation, self.square, strict=True)],
            "cosine_by_layer": [_rounded(c) for c in cosine],
            "agreement_by_layer": _shares(self.agreed, self.wanted),
            "chosen_by_layer": self.chosen.tolist(),
        }


class AnswerLoss:
    """Cross-entropy of the answers in nats per token, by the vector that was added and the layer of the true choice.

    Args:
        layers: L.
    """

    def __init__(self, layers: int) -> None:
        self.total: dict[str, Tensor] = {}
        self.tokens = torch.zeros(layers, dtype=torch.float64)

    def add(self, losses: dict[str, Tensor], tokens: Tensor, layer: Tensor) -> None:
        """Add B pairs: summed losses ``[B]`` by name, answer ``tokens`` [B], and the layer of the true choice [B]."""
        layer = layer.cpu()
        self.tokens.index_add_(0, layer, tokens.double().cpu())
        for name, loss in losses.items():
            self.total.setdefault(name, torch.zeros_like(self.tokens)).index_add_(0, layer, loss.double().cpu())

    def summary(self) -> dict[str, float]:
        """Over all pairs; empty without answers."""
        return (
            {}
            if not self.tokens.any()
            else {name: _rounded(total.sum() / self.tokens.sum()) for name, total in self.total.items()}
        )

    def by_layer(self) -> dict[str, list[float | None]]:
        """By the layer that true English activations choose; None for a layer that they never choose."""
        return {name: _shares(total, self.tokens) for name, total in self.total.items()}


def score_transforms(
    model: TwoPassModel,
    connection: Connection,
    batches: Iterable[PairBatch],
    pad_id: int,
    on_batch: Callable[[int], object] = lambda _pairs: None,
) -> dict[str, dict[str, Any]]:
    """Score every language's matrix, ``global`` and identity against true English activations.

    Args:
        model: the language model as served; its Decision Maker is not used.
        connection: the fitted connection.
        batches: held-out pairs.
        pad_id: fills batches.
        on_batch: called with the number of pairs done, for progress.

    Returns:
        By language, and ``all``: ``pairs``, ``matrix`` (the name served), `Score.summary` of ``transform``, ``global``
        and ``identity``, ``english_by_layer`` (pairs by the layer that true English activations choose), and
        ``answer_loss`` of ``plain``, ``identity``, ``global``, ``transform`` and ``english``, the bound; also by
        layer. ``gain`` is what the matrix is worth, as in `cc_core.evidence.Gain`. Losses are empty for pairs without
        answers, and the gain is None. ``not_finite`` counts pairs whose loss is NaN or infinite, if there are any; no
        loss and no gain has them.
    """
    shape = connection.decision.shape
    collate = PairCollator(pad_id, connection.anchor_offset)
    scores: dict[str, dict[str, Score]] = {}
    losses: dict[str, AnswerLoss] = {}
    gains = PairedGains()
    with torch.inference_mode():
        for batch in batches:
            given = _given(connection, batch)
            choices = {key: _choice(connection.decision, value, batch.embedding) for key, value in given.items()}
            vectors = {key: value[range(len(value)), choices[key]] for key, value in given.items()}
            tokens = torch.tensor([len(pair.answer) for pair in batch.pairs])
            answers = _answer_losses(model, collate, batch, vectors) if tokens.any() else {}
            if answers:
                gains.add(batch.pairs, answers[PLAIN], answers[TRANSFORM], tokens)
                answers, tokens = _finite(answers, tokens)
            for group in (batch.lang, ALL):
                for key in (TRANSFORM, GLOBAL, IDENTITY):
                    score = scores.setdefault(group, {}).setdefault(key, Score(*shape))
                    score.add(given[key], batch.target, choices[key], choices[ENGLISH])
                losses.setdefault(group, AnswerLoss(shape[0])).add(answers, tokens, choices[ENGLISH])
            on_batch(len(batch.pairs))
    worth = gains.summary()
    return {
        group: {
            "pairs": scores[group][IDENTITY].pairs,
            "matrix": None if group == ALL else matrix_for(group, connection.names),
            **{key: score.summary() for key, score in scores[group].items()},
            "english_by_layer": scores[group][IDENTITY].wanted.tolist(),
            "answer_loss": losses[group].summary(),
            "answer_loss_by_layer": losses[group].by_layer(),
            "gain": worth.get(group),
            **({"not_finite": gains.not_finite[group]} if gains.not_finite[group] else {}),
        }
        for group in [ALL, *sorted(set(scores) - {ALL})]
        if group in scores
    }


def brief(report: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The overall figures of `score_transforms`, for ``config.json``."""
    if ALL not in report:
        return {}
    whole = report[ALL]
    figures = {
        key: {name: whole[key][name] for name in ("r2", "cosine", "agreement")} for key in (TRANSFORM, GLOBAL, IDENTITY)
    }
    return {"held_out_pairs": whole["pairs"], **figures, "answer_loss": whole["answer_loss"]}


def _given(connection: Connection, batch: PairBatch) -> dict[str, Tensor]:
    """The activations [B, L, H] that a connection may choose from, by name; ``global`` is not computed twice."""
    device = batch.source.device
    own = batch.source if batch.projected is None else batch.projected
    given = {IDENTITY: own, GLOBAL: transform(batch.source, connection.transforms[GLOBAL].to(device))}
    name = matrix_for(batch.lang, connection.names)
    given[TRANSFORM] = (
        given[GLOBAL] if name == GLOBAL else transform(batch.source, connection.transforms[name].to(device))
    )
    return given | {ENGLISH: batch.target}


def _choice(weight: Tensor, activations: Tensor, embedding: Tensor) -> Tensor:
    """The chosen layer ``[B]``."""
    return best_layer(decision_logits(weight.to(embedding.device), activations.mean(dim=-2), embedding))


def _answer_losses(
    model: TwoPassModel, collate: PairCollator, batch: PairBatch, vectors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Summed cross-entropy of each answer ``[B]``, plain and with each vector ``[B, H]``."""
    dataset = PairDataset(batch.pairs)
    inputs = {k: v.to(batch.source.device) for k, v in collate([dataset[i] for i in range(len(dataset))]).items()}
    losses: dict[str, Tensor] = {}
    for name, vector in [(PLAIN, None), *vectors.items()]:
        if name == TRANSFORM and torch.equal(vectors[TRANSFORM], vectors[GLOBAL]):
            losses[name] = losses[GLOBAL]
            continue
        given = () if vector is None else (partial(connected_at, model.language_model, inputs["anchors"], vector),)
        answers = model.answer_logits(inputs["input_ids"], inputs["attention_mask"], inputs["labels"], *given)
        losses[name] = cross_entropy_by_row(answers, inputs["labels"])
    return losses


def _finite(losses: dict[str, Tensor], tokens: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """``losses`` and ``tokens`` [B], both 0 for a pair with any loss that is NaN or infinite."""
    finite = torch.stack(list(losses.values())).isfinite().all(dim=0)
    return {name: loss.where(finite, 0.0) for name, loss in losses.items()}, tokens * finite.cpu()


def _r2(error: Tensor, variation: Tensor, square: Tensor) -> float | None:
    # The variation is a difference of nearly equal sums: of constant activations, only rounding is left.
    return _rounded(1 - error / variation) if variation > 1e-9 * square else None


def _shares(parts: Tensor, wholes: Tensor) -> list[float | None]:
    return [_rounded(part / whole) if whole else None for part, whole in zip(parts, wholes, strict=True)]


def _rounded(value: Tensor) -> float:
    return round(value.item(), 4)
