"""The rows that compare languages with English: checked, and chosen in each language with their English ones."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace

from cc_core.names import ENGLISH
from cc_core.terminal.text import all_are
from cc_train.evaluation.items import EvaluationError, EvaluationRow, choose_rows

# Characters of a prompt that a message shows.
_SHOWN = 60


def parallel_rows(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """``rows``, the English ones as their own parallel, so that they are chosen together with the others."""
    return [replace(row, english=row.prompt) if row.lang == ENGLISH else row for row in rows]


def check_languages(rows: Sequence[EvaluationRow]) -> None:
    """Raise `EvaluationError` if ``rows`` do not compare each of their languages with English."""
    languages = sorted({row.lang for row in rows} - {ENGLISH})
    english = [row for row in rows if row.lang == ENGLISH]
    if not languages:
        raise EvaluationError(
            f"{all_are(len(rows), 'row')} in {ENGLISH!r}: headroom compares languages with English; "
            "name and add another language, with instruction_en"
        )
    if not english:
        raise EvaluationError(
            f"{all_are(len(rows), 'row')} in {', '.join(map(repr, languages))}: headroom compares languages with "
            "English; add rows in English (lang: en) whose 'instruction' is the 'instruction_en' of the others"
        )
    if not any(row.english for row in rows if row.lang != ENGLISH):
        raise EvaluationError(
            "no row in another language than English has 'instruction_en', its English parallel "
            f"(of {', '.join(languages)})"
        )
    asked = {(row.task, row.prompt) for row in english}
    for language in languages:
        parallels = [row for row in rows if row.lang == language and row.english]
        if parallels and not any((row.task, row.english) in asked for row in parallels):
            raise EvaluationError(
                f"{language}: no 'instruction_en' of its rows is the 'instruction' of an English row of the same task. "
                f"Its first is {_beginning(parallels[0].english)!r}, the first in English is "
                f"{_beginning(english[0].prompt)!r}; make them the same text"
            )


def comparable(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """Those of ``rows`` that have an English parallel, and the English ones that are the parallel of one."""
    asked = {(row.task, row.english) for row in rows if row.lang != ENGLISH}
    return [row for row in rows if (row.english if row.lang != ENGLISH else (row.task, row.prompt) in asked)]


def rows_to_compare(
    rows: Sequence[EvaluationRow], languages: Collection[str], limit: int, seed: int
) -> list[EvaluationRow]:
    """At most ``limit`` items of each task in each language, the same ones where languages have them, in English too.

    Items that have an English row come first.

    Args:
        rows: what `parallel_rows` gives.
        languages: those to compare with English; all if none is named.
        limit: items of each task and language.
        seed: of the choice.

    Raises:
        EvaluationError: the rows do not compare each language with English.
    """
    choose_rows(rows, (), languages)  # names what no row is of
    if languages:
        rows = [row for row in rows if row.lang in (*languages, ENGLISH)]
    check_languages(rows)
    without = [name for name in languages if not any(row.lang == name and row.english for row in rows)]
    if without:
        raise EvaluationError(f"no row in {', '.join(without)} has 'instruction_en', its English parallel")
    rows = comparable(rows)
    in_english = {(row.task, row.item) for row in rows if row.lang == ENGLISH}
    kept: set[tuple[str, str, str]] = set()
    for task in sorted({row.task for row in rows}):
        order = sorted({row.item for row in rows if row.task == task})
        random.Random(seed).shuffle(order)
        order.sort(key=lambda item: (task, item) not in in_english)  # a chosen row without its English tells less
        for language in {row.lang for row in rows} - {ENGLISH}:
            there = {row.item for row in rows if (row.task, row.lang) == (task, language)}
            kept.update((task, language, item) for item in [item for item in order if item in there][:limit])
    return comparable([row for row in rows if row.lang == ENGLISH or (row.task, row.lang, row.item) in kept])


def _beginning(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
