"""Tells apart the languages of one script, by their commonest words and their n-grams.

The classifier chooses among the served languages and their neighbours that are not served. So Italian is undecided,
and not taken for Spanish.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cc_core.language.ngrams import NgramModel, ngram_model
from cc_core.language.scripts import LATIN, Script
from cc_core.language.words import SCRIPTS_WITH_WORDS, word_table, words_of
from cc_core.names import ENGLISH

_LN10: Final = math.log(10)

# The weights of n-grams and words, and the priors of languages, in natural logarithms. Found on the tuning half of
# `benchmarks/routing.py`.
NGRAM_WEIGHT: Final = 2.0
WORD_WEIGHT: Final = 0.6 * _LN10
# How much more a word counts alone: words that come together depend on each other.
LONE_WORD_WEIGHT: Final = 0.4 * _LN10
ENGLISH_PRIOR: Final = 0.3 * _LN10
NEIGHBOUR_PRIOR: Final = -1.0 * _LN10
# Neighbours that differ from a served language in few words get a higher prior than others.
CLOSE_NEIGHBOUR_PRIORS: Final = {"gl": -0.7, "mr": -0.7, "ne": -0.7, "fa": 0.0, "bg": 0.0, "sr": 0.0, "uk": 0.0}
# In shorter texts, capitals depend on the keyboard more than on the language, but would change the n-grams.
CASELESS: Final = 24
# Words alone decide if at least SURE_WORDS are listed and the best language leads by SURE_LEAD (a natural logarithm):
# n-grams cost more, and would not change the answer.
SURE_WORDS: Final = 3
SURE_LEAD: Final = 9.0

# A text of few words that looks English may be a question in another language about an English title. If another
# language explains its first words better than English by PREFIX_GAIN powers of ten, the text is in that language. If
# its first or last words reach only SUSPICIOUS_GAIN, it is undecided.
FEW_WORDS: Final = 16
FIRST_WORD_GAIN: Final = 1.0
SUSPICIOUS_GAIN: Final = 2.7
PREFIX_GAIN: Final = 3.2  # more than "Dan" gains, which is a name in English and "and" in Indonesian
# A longer text may go on in English without punctuation: "Mein Handy lädt nicht Let's think …". It needs a higher gain
# than a title at the beginning has, as in "La Casa de Papel is …".
MOST_WORDS: Final = 40
LONG_PREFIX_GAIN: Final = 10.0
# The common logarithm of the highest share that a word counts with. It bounds the gain of one word: a name is rare in
# all languages but one.
COMMONEST_SHARE: Final = -2.5


class Ranking(NamedTuple):
    """The likeliest languages of a text.

    Args:
        language: the likeliest served language.
        probability: the probability of ``language``.
        candidates: the likeliest few of all languages with their probabilities, best first.
    """

    language: str
    probability: float
    candidates: tuple[tuple[str, float], ...]


NOTHING: Final = Ranking("", 0.0, ())
_NO_GAIN: Final = np.zeros(1, np.float32)


class Classifier:
    """Ranks the C languages of a script, in whose order the last axis of every array is.

    Args:
        script: a script that several languages share.
    """

    def __init__(self, script: Script) -> None:
        self.languages: Final = (*script.languages, *script.neighbours)
        self.served: Final = len(script.languages)
        self._ngrams: NgramModel = ngram_model(self.languages)
        self._words = word_table(script, self.languages) if script in SCRIPTS_WITH_WORDS else None
        priors = [0.0] * self.served + [
            CLOSE_NEIGHBOUR_PRIORS.get(language, NEIGHBOUR_PRIOR) for language in script.neighbours
        ]
        self._english = self.languages.index(ENGLISH) if script is LATIN else None
        if self._english is not None and self._words is not None:
            priors[self._english] = ENGLISH_PRIOR
            gains = self._words.scores.max(1) - self._words.scores[:, self._english]
            # Whether another language gains by a word, for each word. As bytes, which are looked up fastest.
            self._foreign = (gains >= FIRST_WORD_GAIN).tobytes()
        self._priors: NDArray[np.float32] = np.array(priors, np.float32)

    def rank(self, text: str, candidates: int) -> Ranking:
        """Rank the languages of a text in this script.

        Args:
            text: a few hundred characters at most; the cost grows with it.
            candidates: how many languages to list.
        """
        scores, word_scores, rows = self._scores(text)
        # On so few numbers, every call of numpy costs more than its arithmetic.
        best = int(scores.argmax())
        edges = best == self._english and 0 < len(rows) <= MOST_WORDS
        if edges and (self._foreign[rows[0]] or self._foreign[rows[-1]]):
            few = len(word_scores) <= FEW_WORDS
            enough = PREFIX_GAIN if few else LONG_PREFIX_GAIN
            gains = self._gains_over_english(word_scores)
            highest = _highest(gains)
            if highest >= enough:
                scores = np.where(gains >= enough, gains * np.float32(_LN10), np.float32(-np.inf))
                best = int(scores.argmax())
            elif few and max(highest, _highest(self._gains_over_english(word_scores[::-1]))) >= SUSPICIOUS_GAIN:
                return NOTHING
        shares = np.exp(scores - scores[best])
        total = float(np.add.reduce(shares))
        order = scores.argsort()[: -candidates - 1 : -1].tolist()
        likeliest = best if best < self.served else int(shares[: self.served].argmax())
        return Ranking(
            self.languages[likeliest],
            shares.item(likeliest) / total,
            tuple([(self.languages[i], round(shares.item(i) / total, 4)) for i in order]),
        )

    def _gains_over_english(self, word_scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """By how much each language [C] explains a text's first words better than English; [0] where none does.

        Args:
            word_scores: [words, C], as from `_scores`; reversed for the last words.
        """
        first = word_scores[0] - word_scores[0, self._english]
        if _highest(first) < FIRST_WORD_GAIN:
            return _NO_GAIN
        gains = np.minimum(word_scores, COMMONEST_SHARE) - word_scores[:, self._english, None]
        best_prefix: NDArray[np.float32] = np.maximum.reduce(gains.cumsum(0)) * (first >= FIRST_WORD_GAIN)
        return best_prefix

    def _scores(self, text: str) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int]]:
        """Log probabilities of the languages [C], up to a constant; scores [words, C] and rows of the listed words."""
        if self._words is None:
            no_words = np.zeros((0, len(self.languages)), np.float32)
            return NGRAM_WEIGHT * self._ngrams.scores(text) + self._priors, no_words, []
        if len(text) <= CASELESS or text.isupper():
            text = text.capitalize()
        words = words_of(text)
        rows = self._words.rows_of(words)
        word_scores = self._words.lookup(rows)
        scores = np.add.reduce(word_scores)
        if unlisted := len(words) - len(rows):
            scores += unlisted * self._words.others
        scores *= WORD_WEIGHT + LONE_WORD_WEIGHT / max(len(words), 1)
        scores += self._priors
        if len(rows) >= SURE_WORDS and 2 * len(rows) >= len(words):
            ascending = np.sort(scores)
            if ascending[-2] < ascending[-1] - SURE_LEAD:
                return scores, word_scores, rows
        return scores + NGRAM_WEIGHT * self._ngrams.scores(text), word_scores, rows


def _highest(gains: NDArray[np.float32]) -> float:
    return float(np.maximum.reduce(gains))  # `max` would take twice as long


@cache
def classifier(script: Script) -> Classifier:
    """The classifier of ``script``, made once."""
    return Classifier(script)
