"""How often training chooses each layer for each language."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class LayerCounts:
    """Counts rows by language and chosen layer.

    Args:
        num_layers: L.
    """

    def __init__(self, num_layers: int) -> None:
        self._num_layers = num_layers
        self._counts: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, languages: Sequence[str], chosen_layers: Tensor) -> None:
        """Count C rows by their languages and the layer chosen for each, ``[C]``."""
        for language, layer in zip(languages, chosen_layers.tolist(), strict=True):
            self._counts.setdefault(language, [0] * self._num_layers)[layer] += 1

    def take(self) -> dict[str, list[int]]:
        """Each language's count by layer ``[L]``, in alphabetical order; then the counts start again at zero."""
        counts, self._counts = self._counts, {}
        return dict(sorted(counts.items()))
