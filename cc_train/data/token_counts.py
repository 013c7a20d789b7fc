"""What each language costs: the tokens of its rows, and how many times as many as the same prompts in English."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from cc_train.data.encoding import Example

RATIO = "per English token"


def tokens_by_language(examples: Iterable[Example]) -> dict[str, dict[str, float]]:
    """By language: ``rows``, tokens in ``prompts`` and ``answers``, and `RATIO` where rows have an English parallel."""
    by_language: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_language[example.row.lang].append(example)
    return {lang: _counts(by_language[lang]) for lang in sorted(by_language)}


def _counts(examples: list[Example]) -> dict[str, float]:
    counts: dict[str, float] = {
        "rows": len(examples),
        "prompts": sum(len(example.prompt) for example in examples),
        "answers": sum(len(example.answer) for example in examples),
    }
    paired = [example for example in examples if len(example.english)]
    if paired:
        own, english = (sum(len(getattr(e, name)) for e in paired) for name in ("prompt", "english"))
        counts[RATIO] = round(own / english, 2)
    return counts
