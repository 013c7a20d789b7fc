"""What each language of the training data costs in tokens, and whether its answers are in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cc_train.data.encoding import Example
from cc_train.data.suspicions import other_answer_language
from cc_train.data.token_counts import tokens_by_language

CHECKED_ANSWERS = 200
"""How many answers of a language are looked at, spread evenly over its rows; a detector takes a while for millions."""


def language_facts(examples: Sequence[Example]) -> dict[str, dict[str, Any]]:
    """`tokens_by_language`, how many answers were ``checked``, and how many are in another language (``elsewhere``)."""
    by_language: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        by_language[example.row.lang].append(i)
    facts: dict[str, dict[str, Any]] = {}
    for lang, counts in tokens_by_language(examples).items():
        rows = by_language[lang]
        checked = rows[:: -(-len(rows) // CHECKED_ANSWERS)]
        elsewhere = sum(other_answer_language(examples[i].row) is not None for i in checked)
        facts[lang] = {**counts, "checked": len(checked), "elsewhere": elsewhere}
    return facts
