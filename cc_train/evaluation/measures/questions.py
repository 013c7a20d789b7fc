"""Question answering: SQuAD's normalisation as MLQA and MKQA extend it to other languages, and their measures."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Languages written without spaces: every character is a token, but a run of Latin letters or digits is one.
UNSPACED = frozenset({"ja", "km", "th", "zh"})

# What MLQA's and MKQA's scripts leave out; other languages lose nothing.
ARTICLES: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "de": "ein eine einen einem eines einer der die das den dem des",
        "en": "a an the",
        "es": "un una unos unas el la los las",
        "fr": "le la l les du de d des un une",
        "pt": "o a os as um uma uns umas",
        "vi": "của là cái chiếc những",
    }.items()
}
_ARABIC_ARTICLE = "ال"
_UNSPACED_TOKEN = re.compile(r"[0-9A-Za-z\u00c0-\u024f]+|\S")


def tokens(text: str, language: str) -> list[str]:
    """Lower case, without punctuation and articles, split into words (or, where there are no spaces, characters)."""
    text = unicodedata.normalize("NFKC", text).lower()
    if language == "fr":
        text = re.sub(r"['’]", " ", text)
    bare = "".join(c for c in text if c not in string.punctuation and not unicodedata.category(c).startswith("P"))
    if language in UNSPACED:
        return _UNSPACED_TOKEN.findall(bare)
    words = [word for word in bare.split() if word not in ARTICLES.get(language, ())]
    if language == "ar":
        words = [word.removeprefix(_ARABIC_ARTICLE) or word for word in words]
    return words


def score_question(answer: str, references: Sequence[str], language: str) -> dict[str, float]:
    """The best over the references of each measure, 0 to 1.

    ``accuracy``: the answer contains the reference, as a run of whole words; in Korean, whose particles are written on
    to the word, the last of them may go on. ``exact_match`` and ``f1`` are SQuAD's.
    """
    given = tokens(answer, language)
    wanted = [tokens(reference, language) for reference in references]
    return {
        "accuracy": max(float(_contains(given, reference, language)) for reference in wanted),
        "exact_match": max(float(given == reference) for reference in wanted),
        "f1": max(_f1(given, reference) for reference in wanted),
    }


def _contains(given: list[str], reference: list[str], language: str) -> bool:
    size = len(reference)
    if size == 0:
        return not given
    runs = [given[start : start + size] for start in range(len(given) - size + 1)]
    return any(
        run[:-1] == reference[:-1]
        and (run[-1] == reference[-1] or (language == "ko" and _with_particle(run[-1], reference[-1])))
        for run in runs
    )


def _with_particle(word: str, stem: str) -> bool:
    return word.startswith(stem) and not (stem[-1].isdigit() and word[len(stem)].isdigit())


def _f1(given: list[str], reference: list[str]) -> float:
    if not given or not reference:
        return float(given == reference)
    common = sum((Counter(given) & Counter(reference)).values())
    return 2 * common / (len(given) + len(reference))
