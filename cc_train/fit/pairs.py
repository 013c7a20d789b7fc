"""Prompt pairs for the fit: which are fitted on and which are held out, and their activations, streamed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cc_core.connection import ANCHOR_OFFSET
from cc_train.data.dataset import Example, pad_right
from cc_train.fit.least_squares import FitError
from cc_train.model.activations import anchor_positions, capture_at


@dataclass(frozen=True)
class PairBatch:
    """B pairs of one language: ``source`` and ``target`` (English) [B, L, H], ``embedding`` [B, H], fp32.

    Under a projection ``target`` is projected, as in training, and ``projected`` is what ``source`` becomes by it.
    """

    pairs: list[Example]
    source: Tensor
    target: Tensor
    embedding: Tensor
    projected: Tensor | None = None

    @property
    def lang(self) -> str:
        return self.pairs[0].row.lang


def split_pairs(
    examples: Sequence[Example], max_pairs: int, held_out: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Choose pairs for the fit, and pairs held out of it: seeded, English excluded, languages taken in turn.

    An English prompt of the held-out pairs is that of no fitted pair: parallel data has it once in every language, and
    a matrix that has seen it in one says little about another.

    Args:
        examples: encoded rows; one that comes twice counts once.
        max_pairs: how many to choose at most, spread evenly over the languages.
        held_out: share of the chosen pairs to hold out, at least; each language keeps a pair to fit.
        seed: of the choice.

    Returns:
        Fitted and held-out pairs.

    Raises:
        FitError: there is no pair.
    """
    generator = torch.Generator().manual_seed(seed)
    distinct = list({(e.row.file, e.row.line, e.row.lang): e for e in examples if e.row.connected}.values())
    if not distinct:
        raise FitError("no row is in another language than English, so there is nothing to fit a Transform Matrix on")
    by_language: dict[str, list[Example]] = {}
    for i in torch.randperm(len(distinct), generator=generator).tolist():
        by_language.setdefault(distinct[i].row.lang, []).append(distinct[i])
    quotas = _even_shares({lang: len(found) for lang, found in by_language.items()}, max_pairs)
    chosen = [pair for lang in sorted(by_language) for pair in by_language[lang][: quotas[lang]]]
    by_english: dict[bytes, list[Example]] = {}
    for i in torch.randperm(len(chosen), generator=generator).tolist():
        by_english.setdefault(chosen[i].english.tobytes(), []).append(chosen[i])
    left = Counter(pair.row.lang for pair in chosen)
    held: set[int] = set()
    for group in by_english.values():
        if len(held) >= math.ceil(held_out * len(chosen)):
            break
        taken = Counter(pair.row.lang for pair in group)
        if all(left[lang] > count for lang, count in taken.items()):
            left -= taken
            held.update(map(id, group))
    return [p for p in chosen if id(p) not in held], [p for p in chosen if id(p) in held]


def capture_pairs(
    model: PreTrainedModel,
    pairs: Sequence[Example],
    pad_id: int,
    *,
    batch_size: int = 8,
    anchor_offset: int = ANCHOR_OFFSET,
    projection: Tensor | None = None,
) -> Iterator[PairBatch]:
    """Stream both prompts' activations at the anchor, one language a batch, similar lengths together.

    Args:
        projection: ``P`` [H, H] of the training, if it had one.

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
            if projection is None:
                yield PairBatch(batch, source, target, embedding)
            else:
                yield PairBatch(batch, source, target @ projection, embedding, source @ projection)


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
