"""The n-gram model against py3langid's own."""

from __future__ import annotations

import numpy as np
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from cc_core.language.ngrams import UNKNOWN, NgramModel

LANGUAGES = ("de", "en", "es", "id", "sw", "vi")


@pytest.mark.parametrize(
    "text", ["Guten Morgen", "habari ya leo", "Chào buổi sáng", "x", "\ud800 hola", "por favor" * 50]
)
def test_probabilities_are_py3langids(text: str) -> None:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    scores = NgramModel(LANGUAGES).scores(text)
    probabilities = np.exp(scores - scores.max())
    probabilities /= probabilities.sum()
    expected = dict(identifier.rank(text))
    np.testing.assert_allclose(probabilities, [expected[language] for language in LANGUAGES], atol=2e-3)


def test_an_unknown_language_is_a_little_below_the_best() -> None:
    scores = NgramModel(("de", "hi-Latn", "en")).scores("Guten Morgen zusammen")
    assert scores[1] == pytest.approx(scores.max() + UNKNOWN)


@pytest.mark.parametrize("text", ["", "😀"])
def test_without_ngrams_all_are_equal(text: str) -> None:
    scores = NgramModel(LANGUAGES).scores(text)
    assert scores.shape == (len(LANGUAGES),)
    assert np.ptp(scores) == 0 or text
