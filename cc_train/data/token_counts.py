"""What each language costs: the tokens of its rows, and their ratio to the tokens of the same prompts in English."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from cc_train.data.encoding import Example

RATIO = "per English token"


def tokens_by_language(examples: Iterable[Example]) -> dict[str, dict[str, float]]:
    """By language: ``rows``, tokens in ``prompts`` and ``answers``, and `RATIO` where rows have an English parallel."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        own, english = len(example.prompt), len(example.english)
        of_row = {"rows": 1, "prompts": own, "answers": len(example.answer)}
        counts[example.row.lang].update(of_row | ({"paired": own, "english": english} if english else {}))
    return {lang: _facts(counts[lang]) for lang in sorted(counts)}


def _facts(counts: Counter[str]) -> dict[str, float]:
    facts: dict[str, float] = {name: counts[name] for name in ("rows", "prompts", "answers")}
    return facts | ({RATIO: round(counts["paired"] / counts["english"], 2)} if counts["english"] else {})
