"""The Transform Matrices: least squares from a prompt's own FFN contributions to the English prompt's.

``a_l(non-English) @ T ≈ a_l(English)`` over the rows of all layers together, as in the paper. One ``global`` T is
fitted on all languages. A language's own T is fitted with a ridge on the difference from ``global``. It is pulled
towards ``global`` as strongly as `shrinkage` pairs would pull: with few pairs it stays near ``global``, with many it
follows its own pairs. Ridge and shrinkage are chosen on pairs left out, unless given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cc_core.names import GLOBAL
from cc_train.config.fit import FitSettings
from cc_train.fit.activation_store import ActivationStore
from cc_train.fit.least_squares import FitError, NormalEquations, held_out_errors, of_rank
from cc_train.fit.pairs import PairBatch

RIDGES = tuple(10.0 ** (exponent / 2) for exponent in range(-14, 1))
SHRINKAGES = (*(10.0 ** (exponent / 2) for exponent in range(-2, 9)), math.inf)
DEFAULT_RIDGE = 1e-3


class Transforms(Mapping[str, Tensor]):
    """``T`` [H, H] fp32 by name, ``global`` first. Each is a file mapped into memory, which outlives the file's name.

    Args:
        directory: holds the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: list[str] = []

    def __setitem__(self, name: str, transform: Tensor) -> None:
        np.save(self._path(name), transform.float().cpu().numpy())
        self._names.append(name)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return torch.from_numpy(np.load(self._path(name), mmap_mode="c"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.npy"


def fit_transforms(
    batches: Iterable[PairBatch],
    settings: FitSettings,
    directory: Path,
    on_batch: Callable[[int], object] = lambda _pairs: None,
) -> tuple[Transforms, dict[str, Any]]:
    """Fit ``global``, and each language with at least ``min_pairs`` pairs.

    Args:
        batches: consumed once, held one at a time.
        settings: what to fit on, and how.
        directory: an empty one; activations and then the matrices are files in it.
        on_batch: called with the number of pairs done, for progress.

    Returns:
        The matrices, and how they were fitted: ``ridge`` and ``shrinkage``, each candidate's error on the pairs left
        out, and ``rank`` with what it loses.

    Raises:
        FitError: nothing to fit, or no solution.
    """
    store = ActivationStore(directory, settings.folds)
    for batch in batches:
        store.add(batch)
        on_batch(len(batch.pairs))
    if not store.pairs:
        raise FitError("there is no prompt pair to fit a Transform Matrix on")
    if settings.rank is not None and settings.rank > store.hidden_size:
        raise FitError(f"--fit-rank {settings.rank} is above the hidden size, {store.hidden_size}")
    own = [lang for lang in store.languages if store.pairs[lang] >= settings.min_pairs]
    if store.languages == own and len(own) == 1:
        own = []  # its matrix would be the global one
    facts: dict[str, Any] = {}
    ridge = settings.ridge
    if ridge is None:
        ridge, facts["ridge_errors"] = _choose_ridge(store)
    shrinkage = settings.shrinkage if own else math.inf
    if shrinkage is None:
        shrinkage, facts["shrinkage_errors"] = _choose_shrinkage(store, own, ridge)
    facts |= {"ridge": ridge, "shrinkage": shrinkage if math.isfinite(shrinkage) else None}

    transforms = Transforms(directory)
    equations = store.equations()
    pull = _per_pair(store, equations) * shrinkage
    transform = equations.solve(ridge * equations.scale())
    lost = {}

    def keep(name: str, transform: Tensor, xx: Tensor) -> None:
        if settings.rank is not None:
            transform, lost[name] = of_rank(transform, xx, settings.rank)
        transforms[name] = transform

    keep(GLOBAL, transform, equations.xx)
    for language in own if math.isfinite(shrinkage) else []:
        equations = store.equations([language])
        equations.move_origin(transform)
        keep(language, transform + equations.solve(pull), equations.xx)
    if settings.rank is not None:
        facts |= {"rank": settings.rank, "lost_by_rank": {name: round(share, 6) for name, share in lost.items()}}
    return transforms, facts


def _choose_ridge(store: ActivationStore) -> tuple[float, dict[str, float]]:
    """The ridge with the least error over the folds left out in turn. Also each ridge's error, relative to ``|Y|²``."""
    if store.prompts < 2:
        return DEFAULT_RIDGE, {}
    whole = store.equations()
    errors = torch.zeros(len(RIDGES), dtype=torch.float64)
    for fold in range(min(store.folds, store.prompts)):
        left_out = store.equations(folds=[fold])
        whole.include(left_out, -1)
        scale = whole.scale()
        errors += held_out_errors(whole, left_out, [ridge * scale for ridge in RIDGES]).cpu()
        whole.include(left_out)
    return _least(RIDGES, errors / whole.yy)


def _choose_shrinkage(store: ActivationStore, languages: list[str], ridge: float) -> tuple[float, dict[str, float]]:
    """The shrinkage, in pairs, with the least error over the languages' pairs left out. Also each one's error."""
    if store.prompts < 2:
        return math.inf, {}
    rest = range(1, store.folds)
    equations = store.equations(folds=rest)
    origin = equations.solve(ridge * equations.scale())
    pulls = [shrinkage * _per_pair(store, equations) for shrinkage in SHRINKAGES]
    errors = torch.zeros(len(SHRINKAGES), dtype=torch.float64)
    total = 0.0
    for language in languages:
        fitted, left_out = store.equations([language], rest), store.equations([language], [0])
        total += left_out.yy
        for part in (fitted, left_out):
            part.move_origin(origin)
        errors += held_out_errors(fitted, left_out, pulls).cpu()
    if not total:  # with few pairs, all that are left out may be of languages without a matrix of their own
        return math.inf, {}
    return _least(SHRINKAGES, errors / total)


def _per_pair(store: ActivationStore, equations: NormalEquations) -> float:
    """What one pair (L rows) adds to the diagonal of ``XᵀX``, on average."""
    return equations.scale() / equations.rows * store.layers


def _least(candidates: tuple[float, ...], errors: Tensor) -> tuple[float, dict[str, float]]:
    """The candidate with the least error, and the errors by candidate, for JSON."""
    best = candidates[int(errors.argmin())]
    return best, {f"{c:.3g}": round(e, 8) for c, e in zip(candidates, errors.tolist(), strict=True)}
