"""The fitted pairs' activations on disk, so that a fit takes the same memory for any number of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cc_train.fit.least_squares import NormalEquations
from cc_train.fit.pairs import PairBatch

_ROWS = 2048  # activations in memory at a time


class ActivationStore:
    """Files of activations by language and fold, in a directory that the caller removes.

    All pairs with the same English prompt are in one fold.

    Args:
        directory: holds the files; 8 L H bytes a pair.
        folds: the parts of the pairs that cross-validation leaves out in turn.
    """

    def __init__(self, directory: Path, folds: int) -> None:
        self.folds = folds
        self.pairs: Counter[str] = Counter()
        self.layers = self.hidden_size = 0
        self.device = torch.device("cpu")
        self._directory = directory
        self._fold_of: dict[bytes, int] = {}

    @property
    def languages(self) -> list[str]:
        return sorted(self.pairs)

    @property
    def prompts(self) -> int:
        """How many different English prompts there are."""
        return len(self._fold_of)

    def add(self, batch: PairBatch) -> None:
        """Write a batch."""
        self.layers, self.hidden_size = batch.source.shape[1:]
        self.device = batch.source.device
        both = torch.stack([batch.source, batch.target], dim=1).cpu().numpy()
        for pair, activations in zip(batch.pairs, both, strict=True):
            fold = self._fold_of.setdefault(pair.english.tobytes(), len(self._fold_of) % self.folds)
            with self._file(batch.lang, fold).open("ab") as file:
                file.write(activations.tobytes())  # numpy's tofile does not report a full disk
        self.pairs[batch.lang] += len(batch.pairs)

    def equations(
        self, languages: Collection[str] | None = None, folds: Collection[int] | None = None
    ) -> NormalEquations:
        """The normal equations over all layers of the pairs in ``languages`` and ``folds``; None for all."""
        equations = NormalEquations(self.hidden_size, self.device)
        for language in self.languages if languages is None else languages:
            for fold in range(self.folds) if folds is None else folds:
                for source, target in self._read(language, fold):
                    equations.add(source, target)
        return equations

    def _file(self, language: str, fold: int) -> Path:
        return self._directory / f"{language}.{fold}.f32"

    def _read(self, language: str, fold: int) -> Iterator[tuple[Tensor, Tensor]]:
        path = self._file(language, fold)
        if not path.exists():
            return
        shape = (-1, 2, self.layers, self.hidden_size)
        size = 2 * self.layers * self.hidden_size
        with path.open("rb") as file:
            while len(values := np.fromfile(file, np.float32, size * max(1, _ROWS // self.layers))):
                source, target = torch.from_numpy(values.reshape(shape)).unbind(1)
                yield source, target
