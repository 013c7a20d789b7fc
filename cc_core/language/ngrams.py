"""py3langid's naive Bayes model of byte n-grams, reduced to a few languages.

The tables have only these languages, in float32. So a text costs one matrix product, a fraction of py3langid's time.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from py3langid.langid import MODEL_FILE, LanguageIdentifier, visit_counts

# The score of a language that py3langid does not know, relative to the best score.
UNKNOWN: Final = -2.0


class NgramModel:
    """Scores a text in each language.

    Args:
        languages: the codes of C languages. Those that py3langid does not know score a little below the best.
    """

    def __init__(self, languages: tuple[str, ...]) -> None:
        model = _model()
        known = [language for language in languages if language in model.nb_classes]
        columns = [model.nb_classes.index(language) for language in known]
        self._places = [languages.index(language) for language in known]
        self._size = len(languages)
        self._weights: NDArray[np.float32] = np.ascontiguousarray(model.nb_ptc[:, columns], dtype=np.float32)
        self._priors: NDArray[np.float32] = np.asarray(model.nb_pc[columns], dtype=np.float32)

    def scores(self, text: str) -> NDArray[np.float32]:
        """Log probabilities of the languages [C], up to a constant; all zero where the text has no known n-gram."""
        model = _model()
        data = text.encode("utf-8", "surrogatepass")
        visits = visit_counts(model.tk_nextmove, model._rowbase, model.tk_output, data)
        if not visits:
            return np.zeros(self._size, np.float32)
        rows = np.fromiter(visits.keys(), np.intp, len(visits))
        counts = np.log1p(np.fromiter(visits.values(), np.float32, len(visits)))
        # py3langid's own temperature, which keeps the probabilities calibrated across lengths.
        known: NDArray[np.float32] = (counts @ self._weights.take(rows, 0) + self._priors) / math.sqrt(len(data))
        if len(known) == self._size:
            return known
        scores = np.full(self._size, known.max() + UNKNOWN, np.float32)
        scores[self._places] = known
        return scores


@cache
def ngram_model(languages: tuple[str, ...]) -> NgramModel:
    """The model for ``languages``, made once."""
    return NgramModel(languages)


@cache
def _model() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE)
