"""Summaries: ROUGE over the words of each language, and chrF, which needs no words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

from icu4py.breakers import WordBreaker
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from sacrebleu import sentence_chrf

_ROUGE = ("rougeL", "rouge1", "rouge2")


class Words(Tokenizer):  # type: ignore[misc]  # rouge-score is not typed
    """The words of one language, in lower case, by ICU's rules, which know Thai, Chinese and Japanese by dictionary.

    rouge-score's own tokenizer keeps a-z and 0-9 only, so that it finds nothing in most languages.
    """

    def __init__(self, language: str) -> None:
        self.language = language

    def tokenize(self, text: str) -> list[str]:
        lower = unicodedata.normalize("NFKC", text).lower()
        return [word for word in WordBreaker(lower, self.language) if any(map(_in_word, word))]


def score_summary(answer: str, references: Sequence[str], language: str) -> dict[str, float]:
    """F-measures of ROUGE-L, -1 and -2, each the best over the references, and chrF; 0 to 1."""
    scores = _scorer(language).score_multi(references, answer)
    return {
        **{name: float(scores[name].fmeasure) for name in _ROUGE},
        "chrf": sentence_chrf(answer, references).score / 100,
    }


@cache
def _scorer(language: str) -> RougeScorer:
    return RougeScorer(list(_ROUGE), tokenizer=Words(language))


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"
