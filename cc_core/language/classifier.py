"""Telling apart languages that share a script, from their commonest words and their n-grams."""

from __future__ import annotations

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cc_core.language.ngrams import NgramModel, ngram_model
from cc_core.language.scripts import LATIN, Script
from cc_core.language.words import SCRIPTS_WITH_WORDS, word_table, words_of

# Found on the tuning half of `benchmarks/routing.py`: how much n-grams and words count, in natural logarithms.
NGRAM_WEIGHT: Final = 2.0
WORD_WEIGHT: Final = 0.6 * math.log(10)
# What a word counts more where it is the only one: words that come together say partly the same.
LONE_WORD: Final = 0.4 * math.log(10)
# How much less likely a neighbour is than a served language, and English more, in natural logarithms.
NEIGHBOUR: Final = -1.0 * math.log(10)
ENGLISH_PRIOR: Final = 0.3 * math.log(10)
# Neighbours that differ from a served language in few words have to be nearly as likely.
CLOSE_NEIGHBOURS: Final = {"gl": -0.7, "mr": -0.7, "ne": -0.7, "fa": 0.0, "bg": 0.0, "sr": 0.0, "uk": 0.0}
# Words alone decide where they say this much: n-grams, which cost more, would not change the answer.
SURE: Final = 9.0
SURE_WORDS: Final = 3

# English that begins with words of another language quotes English: a title, mostly. One word's gain is bounded by
# taking none for commoner than this, since names are rare in all languages but one; common logarithms.
MOST_WORDS: Final = 16
COMMONEST: Final = -2.5
FIRST_WORD: Final = 1.0
SUSPICIOUS: Final = 2.7
PREFIX: Final = 3.2  # not reached by "Dan", which is a name in English and "and" in Indonesian


class Ranking(NamedTuple):
    """The likeliest language that is served, its probability, and the likeliest few of all, the best first."""

    language: str
    probability: float
    candidates: tuple[tuple[str, float], ...]


NOTHING: Final = Ranking("", 0.0, ())


class Classifier:
    """Ranks the languages of a script.

    Args:
        script: one that several languages share.
    """

    def __init__(self, script: Script) -> None:
        self.languages: Final = (*script.languages, *script.neighbours)
        self.served: Final = len(script.languages)
        self._ngrams: NgramModel = ngram_model(self.languages)
        self._words = word_table(script, self.languages) if script in SCRIPTS_WITH_WORDS else None
        priors = [0.0] * self.served + [CLOSE_NEIGHBOURS.get(language, NEIGHBOUR) for language in script.neighbours]
        self._english = self.languages.index("en") if script is LATIN else None
        if self._english is not None:
            priors[self._english] = ENGLISH_PRIOR
        self._priors: NDArray[np.float32] = np.array(priors, np.float32)
        self._no_gain: NDArray[np.float32] = np.zeros(len(self.languages), np.float32)

    def rank(self, text: str, candidates: int) -> Ranking:
        """Rank the languages of a text in this script.

        English that begins with words of another language is taken as that language, and English that ends with them
        as none.

        Args:
            text: of a few hundred characters at most, which is what the cost depends on.
            candidates: how many to list.
        """
        scores, listed = self._scores(text)
        best = int(scores.argmax())
        if best == self._english and 0 < len(listed) <= MOST_WORDS:
            prefix = self._gain_over_english(listed)
            if prefix.max() >= PREFIX:
                scores = np.where(prefix >= PREFIX, prefix * np.float32(math.log(10)), np.float32(-np.inf))
                best = int(scores.argmax())
            elif max(prefix.max(), self._gain_over_english(listed[::-1]).max()) >= SUSPICIOUS:
                return NOTHING
        probabilities = np.exp(scores - scores[best])
        probabilities /= probabilities.sum()
        order = probabilities.argsort()[: -candidates - 1 : -1]
        likeliest = int(probabilities[: self.served].argmax())
        return Ranking(
            self.languages[likeliest],
            float(probabilities[likeliest]),
            tuple((self.languages[i], round(float(probabilities[i]), 4)) for i in order),
        )

    def _gain_over_english(self, listed: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much better each language [C] explains the words that come first; zero where English is as good."""
        first = listed[0] - listed[0, self._english]
        if first.max() < FIRST_WORD:
            return self._no_gain
        gains = np.minimum(listed, COMMONEST) - listed[:, self._english, None]
        prefix: NDArray[np.float32] = gains.cumsum(0).max(0) * (first >= FIRST_WORD)
        return prefix

    def _scores(self, text: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logarithms of the probabilities [C] up to a constant, and the scores of the listed words [words, C]."""
        if self._words is None:
            return NGRAM_WEIGHT * self._ngrams.scores(text) + self._priors, np.zeros(
                (0, len(self.languages)), np.float32
            )
        words = words_of(text)
        listed = self._words.lookup(words)
        unlisted = (len(words) - len(listed)) * self._words.others
        weight = WORD_WEIGHT + LONE_WORD / max(len(words), 1)
        scores = weight * (listed.sum(0) + unlisted) + self._priors
        if len(listed) >= SURE_WORDS and 2 * len(listed) >= len(words):
            second, first = np.partition(scores, -2)[-2:]
            if first - second > SURE:
                return scores, listed
        return scores + NGRAM_WEIGHT * self._ngrams.scores(text), listed


@cache
def classifier(script: Script) -> Classifier:
    """The classifier of ``script``, made once."""
    return Classifier(script)
