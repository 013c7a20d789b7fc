"""Which layers are chosen for which language while a model is trained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

LAYERS = "layers_by_language"  # in Trainer's log history


class LayerCounts:
    """Rows by language and chosen layer, since they were last taken.

    Args:
        layers: L.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._counts: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, languages: Sequence[str], layers: Tensor) -> None:
        """Count rows: their languages, and the layer chosen for each, ``[C]``."""
        for language, layer in zip(languages, layers.tolist(), strict=True):
            self._counts.setdefault(language, [0] * self._layers)[layer] += 1

    def take(self) -> dict[str, list[int]]:
        """Rows by layer of every language, sorted; begins again at none."""
        counts, self._counts = self._counts, {}
        return dict(sorted(counts.items()))
