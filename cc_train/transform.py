"""The Transform Matrix: least squares from a prompt's own FFN contributions to the English prompt's.

``a_l(non-English) @ T ≈ a_l(English)`` over the rows of all layers together, as in the paper. The normal equations
are accumulated in fp64 batch by batch: memory is a few H x H matrices, whatever the number of pairs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cc_train.activations import anchor_positions, capture_at
from cc_train.connection import ANCHOR_OFFSET, GLOBAL
from cc_train.data import Example, pad_right


class FitError(ValueError):
    """The matrices cannot be fitted; the message says what is missing."""


@dataclass(frozen=True)
class FitSettings:
    """How much to fit on, and how.

    Args:
        max_pairs: prompt pairs used at most, spread evenly over the languages. The paper fits its one matrix on about
            1,000; three times that leaves each of up to 26 languages the 100 fitted pairs from which it gets its own.
        min_pairs: fitted pairs from which a language gets its own matrix.
        held_out: share of the pairs kept for the report.
        ridge: added to the diagonal, as a share of its mean. On Gemma 3 270M with an untrained W, 1e-3 against 1e-6
            raised the held-out agreement of the choice at every number of pairs tried, most where rows are few.
    """

    max_pairs: int = 3000
    min_pairs: int = 100
    held_out: float = 0.1
    ridge: float = 1e-3


@dataclass(frozen=True)
class PairBatch:
    """B pairs of one language: ``source`` and ``target`` (English) [B, L, H], ``embedding`` [B, H], fp32."""

    pairs: list[Example]
    source: Tensor
    target: Tensor
    embedding: Tensor

    @property
    def lang(self) -> str:
        return self.pairs[0].row.lang


class NormalEquations:
    """``XᵀX`` and ``XᵀY`` of the rows seen so far, fp64.

    Args:
        hidden_size: H.
        device: where they are accumulated.
    """

    def __init__(self, hidden_size: int, device: torch.device | str = "cpu") -> None:
        self.xx = torch.zeros(hidden_size, hidden_size, dtype=torch.float64, device=device)
        self.xy = torch.zeros_like(self.xx)
        self.rows = 0

    def add(self, source: Tensor, target: Tensor) -> None:
        """Add rows: ``source`` and ``target``, ``[..., H]``."""
        x, y = (t.to(self.xx.device, torch.float64).flatten(0, -2) for t in (source, target))
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.rows += len(x)

    def solve(self, ridge: float) -> Tensor:
        """``T`` [H, H], fp32: the minimum of ``|X T - Y|² + ridge · mean(diag XᵀX) · |T|²``.

        Raises:
            FitError: no rows, values that are not finite, or a singular system.
        """
        if not self.rows:
            raise FitError("there is no prompt pair to fit a Transform Matrix on")
        if not (torch.isfinite(self.xx).all() and torch.isfinite(self.xy).all()):
            raise FitError("the activations hold NaN or infinite values, so no Transform Matrix can be fitted")
        system = self.xx.clone()
        system.diagonal().add_(ridge * self.xx.diagonal().mean())
        factor, failed = torch.linalg.cholesky_ex(system)
        if failed:
            raise FitError(
                f"{self.rows} rows of activations do not determine a {len(system)}x{len(system)} Transform Matrix "
                f"with ridge {ridge:g}; fit on more pairs, or raise the ridge"
            )
        return torch.cholesky_solve(self.xy, factor).float()


def split_pairs(examples: Sequence[Example], settings: FitSettings, seed: int) -> tuple[list[Example], list[Example]]:
    """Choose pairs for the fit, and pairs held out of it: seeded, English excluded, languages taken in turn.

    Raises:
        FitError: there is no pair.
    """
    generator = torch.Generator().manual_seed(seed)
    by_language: dict[str, list[Example]] = {}
    for i in torch.randperm(len(examples), generator=generator).tolist():
        if examples[i].row.connected:
            by_language.setdefault(examples[i].row.lang, []).append(examples[i])
    if not by_language:
        raise FitError("no row is in another language than English, so there is nothing to fit a Transform Matrix on")
    quotas = _even_shares({lang: len(found) for lang, found in by_language.items()}, settings.max_pairs)
    fitted: list[Example] = []
    held: list[Example] = []
    seen = 0
    for lang in sorted(by_language):
        chosen = by_language[lang][: quotas[lang]]
        seen += len(chosen)
        # The share holds over all languages together, and leaves each language a pair to fit.
        kept = max(0, min(math.ceil(settings.held_out * seen) - len(held), len(chosen) - 1))
        held += chosen[:kept]
        fitted += chosen[kept:]
    return fitted, held


def capture_pairs(
    model: PreTrainedModel,
    pairs: Sequence[Example],
    pad_id: int,
    *,
    batch_size: int = 8,
    anchor_offset: int = ANCHOR_OFFSET,
) -> Iterator[PairBatch]:
    """Stream both prompts' activations at the anchor, one language a batch, similar lengths together.

    Raises:
        FitError: an activation is not finite; the message names the pairs.
    """
    ordered = sorted(pairs, key=lambda p: (p.row.lang, len(p.prompt), p.row.file, p.row.line))
    for lang in dict.fromkeys(p.row.lang for p in ordered):
        group = [p for p in ordered if p.row.lang == lang]
        for start in range(0, len(group), batch_size):
            batch = group[start : start + batch_size]
            source, embedding = _activations(model, [p.prompt for p in batch], pad_id, anchor_offset)
            target, _ = _activations(model, [p.english for p in batch], pad_id, anchor_offset)
            if not (torch.isfinite(source).all() and torch.isfinite(target).all()):
                names = ", ".join(p.row.name for p in batch)
                raise FitError(f"an activation is NaN or infinite in one of {names}; is the trained model broken?")
            yield PairBatch(batch, source, target, embedding)


def fit_transforms(
    batches: Iterable[PairBatch],
    pairs_per_language: dict[str, int],
    settings: FitSettings,
    on_batch: Callable[[int], object] = lambda _pairs: None,
) -> dict[str, Tensor]:
    """Fit ``global``, and each language with at least ``min_pairs`` pairs.

    Args:
        batches: consumed once, held one at a time.
        pairs_per_language: how many pairs are to come, so that only the languages that qualify take memory.
        on_batch: called with the number of pairs done, for progress.

    Returns:
        ``T`` [H, H] fp32 by name, ``global`` first.

    Raises:
        FitError: nothing to fit, or no solution.
    """
    own = [lang for lang, count in sorted(pairs_per_language.items()) if count >= settings.min_pairs]
    equations: dict[str, NormalEquations] = {}
    for batch in batches:
        if not equations:
            hidden, device = batch.source.shape[-1], batch.source.device
            equations = {name: NormalEquations(hidden, device) for name in [GLOBAL, *own]}
        equations[GLOBAL].add(batch.source, batch.target)
        if batch.lang in equations:
            equations[batch.lang].add(batch.source, batch.target)
        on_batch(len(batch.source))
    if not equations:
        raise FitError("there is no prompt pair to fit a Transform Matrix on")
    return {name: system.solve(settings.ridge).cpu() for name, system in equations.items()}


def pair_counts(pairs: Iterable[Example]) -> dict[str, int]:
    """Pairs by language, sorted."""
    return dict(sorted(Counter(p.row.lang for p in pairs).items()))


@torch.inference_mode()
def _activations(model: PreTrainedModel, prompts: Sequence, pad_id: int, anchor_offset: int) -> tuple[Tensor, Tensor]:
    """``a_l`` [B, L, H] and ``e`` [B, H] at the anchors; the LM head never runs."""
    ids, mask = (t.to(model.device) for t in pad_right(prompts, pad_id))
    with capture_at(model, anchor_positions(mask, anchor_offset)) as capture:
        model.model(input_ids=ids, attention_mask=mask, use_cache=False)
    return capture.activations, capture.embedding


def _even_shares(available: dict[str, int], total: int) -> dict[str, int]:
    """How many of each to take, at most ``total`` together: even, and what one lacks goes to the others."""
    shares: dict[str, int] = {}
    names = sorted(available, key=lambda name: (available[name], name))
    for i, name in enumerate(names):
        shares[name] = min(available[name], (total - sum(shares.values())) // (len(names) - i))
    return shares
