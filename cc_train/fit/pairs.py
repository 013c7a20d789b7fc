"""Prompt pairs for the fit: the choice of those to fit on and those to hold out, and their activations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from cc_core.connection import ANCHOR_OFFSET
from cc_train.data.batches import pad_right
from cc_train.data.encoding import Example, digest
from cc_train.fit.least_squares import FitError
from cc_train.model.activations import anchor_positions, capture_at


@dataclass(frozen=True)
class PairBatch:
    """B pairs of one language: ``source`` and ``target`` (English) [B, L, H], ``embedding`` [B, H], fp32.

    With a projection, ``target`` is projected, as in training, and ``projected`` is ``source`` projected.
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
    """Choose pairs to fit on, and pairs to hold out.

    The fitted and the held-out pairs share no English prompt. Parallel data has each prompt once in every language, and
    a score on a prompt that was fitted in another language would be too good.

    Args:
        examples: encoded rows; English ones are left out, and a row that comes twice counts once.
        max_pairs: how many to choose at most, spread evenly over the languages.
        held_out: the least share of the chosen pairs to hold out; each language keeps a pair to fit.
        seed: draws the choice.

    Returns:
        Fitted and held-out pairs.

    Raises:
        FitError: there is no pair.
    """
    generator = torch.Generator().manual_seed(seed)
    distinct = _distinct(examples)
    if not distinct:
        raise FitError(
            "all rows are in English, so there is nothing to fit a Transform Matrix on; add rows in other languages"
        )
    by_language: dict[str, list[int]] = {}
    for i in torch.randperm(len(distinct), generator=generator).tolist():
        lang, index = distinct[i]
        by_language.setdefault(lang, []).append(index)
    quotas = _even_shares({lang: len(found) for lang, found in by_language.items()}, max_pairs)
    chosen = [examples[i] for lang in sorted(by_language) for i in by_language[lang][: quotas[lang]]]
    by_english: dict[bytes, list[Example]] = {}
    for i in torch.randperm(len(chosen), generator=generator).tolist():
        by_english.setdefault(chosen[i].english_digest, []).append(chosen[i])
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


def _distinct(examples: Sequence[Example]) -> list[tuple[str, int]]:
    """Language and index of every connected row, once each; a conversation's turns are rows of one line."""
    found: dict[bytes, tuple[str, int]] = {}
    for i, example in enumerate(examples):
        row = example.row
        if row.connected:
            name = f"{row.file}\0{row.line}\0{row.lang}\0".encode("utf-8", "surrogateescape")
            found[digest(name + example.prompt.tobytes())] = (row.lang, i)
    return list(found.values())


def capture_pairs(
    model: PreTrainedModel,
    pairs: Sequence[Example],
    pad_id: int,
    *,
    batch_size: int = 8,
    anchor_offset: int = ANCHOR_OFFSET,
    projection: Tensor | None = None,
) -> Iterator[PairBatch]:
    """Both prompts' activations at the anchor, in batches of one language and of similar lengths.

    Args:
        model: in evaluation mode.
        pairs: encoded rows.
        pad_id: fills batches.
        batch_size: pairs in one forward pass.
        anchor_offset: the anchor's position, counted from a prompt's end.
        projection: ``P`` [H, H], if English activations were projected in training.

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
def _activations(
    model: PreTrainedModel, prompts: Sequence[np.ndarray], pad_id: int, anchor_offset: int
) -> tuple[Tensor, Tensor]:
    """``a_l`` [B, L, H] and ``e`` [B, H] at the anchors; the LM head never runs."""
    ids, mask = (t.to(model.device) for t in pad_right(prompts, pad_id))
    with capture_at(model, anchor_positions(mask, anchor_offset)) as capture:
        model.model(input_ids=ids, attention_mask=mask, use_cache=False)
    return capture.activations, capture.embedding


def _even_shares(available: dict[str, int], total: int) -> dict[str, int]:
    """How many of each to take, at most ``total`` together. Shares are even; what one lacks goes to the others."""
    shares: dict[str, int] = {}
    names = sorted(available, key=lambda name: (available[name], name))
    for i, name in enumerate(names):
        shares[name] = min(available[name], (total - sum(shares.values())) // (len(names) - i))
    return shares
