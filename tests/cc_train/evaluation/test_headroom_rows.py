"""Rows that compare languages with English: which are chosen, and what is said of those that compare nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from cc_train.evaluation.headroom_rows import parallel_rows, rows_to_compare
from cc_train.evaluation.items import EvaluationError, EvaluationRow


def rows(lang: str, items: Iterable[int], task: str = "mkqa", english: str = "question") -> list[EvaluationRow]:
    return [
        EvaluationRow(
            f"{task}/{lang}/{item}",
            task,
            lang,
            f"{english} {item}" if lang == "en" else f"{lang} {item}",
            "" if lang == "en" or not english else f"{english} {item}",
            ("Ray",),
        )
        for item in items
    ]


def chosen(
    given: Sequence[EvaluationRow], languages: Sequence[str] = (), limit: int = 100, seed: int = 0
) -> list[EvaluationRow]:
    return rows_to_compare(parallel_rows(given), languages, limit, seed)


ENGLISH = rows("en", range(1000))
FRENCH = rows("fr", range(1000))
GERMAN = rows("de", range(970, 1000))


@pytest.mark.parametrize(
    ("languages", "limit", "counts"),
    [
        (["de"], 100, {"de": 30, "en": 30}),
        (["de", "en"], 100, {"de": 30, "en": 30}),
        (["de"], 10, {"de": 10, "en": 10}),
        (["fr"], 100, {"fr": 100, "en": 100}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_english_rows_of_other_languages_take_no_place(
    languages: list[str], limit: int, counts: dict[str, int], seed: int
) -> None:
    found = chosen([*ENGLISH, *FRENCH, *GERMAN], languages, limit, seed)
    assert Counter(row.lang for row in found) == counts
    assert {row.prompt for row in found if row.lang == "en"} == {row.english for row in found if row.lang != "en"}


@pytest.mark.parametrize("languages", [[], ["de", "fr"]])
def test_each_language_has_its_items_though_another_has_more(languages: list[str]) -> None:
    found = Counter(row.lang for row in chosen([*ENGLISH, *FRENCH, *GERMAN], languages, limit=40))
    assert (found["de"], found["fr"]) == (30, 40)


def test_languages_without_a_common_item_have_each_their_own() -> None:
    found = Counter(row.lang for row in chosen([*ENGLISH, *rows("sw", range(500)), *GERMAN], limit=20))
    assert found == {"sw": 20, "de": 20, "en": 40}


def test_languages_with_the_same_items_are_asked_the_same_ones() -> None:
    found = chosen([*ENGLISH, *FRENCH, *rows("sw", range(1000))], limit=20)
    items = [{row.english for row in found if row.lang == lang} for lang in ("fr", "sw", "en")]
    assert items[0] == items[1] == items[2]


@pytest.mark.parametrize("seed", range(3))
def test_items_that_have_an_english_row_come_first(seed: int) -> None:
    found = chosen([*ENGLISH[:3], *FRENCH], limit=4, seed=seed)
    assert Counter(row.lang for row in found) == {"fr": 4, "en": 3}


def test_each_task_has_its_own_limit() -> None:
    found = chosen([*ENGLISH, *GERMAN, *rows("en", range(50), "xquad"), *rows("de", range(50), "xquad")], limit=20)
    assert Counter((row.task, row.lang) for row in found) == dict.fromkeys(
        [(task, lang) for task in ("mkqa", "xquad") for lang in ("de", "en")], 20
    )


@pytest.mark.parametrize(
    ("given", "languages", "words"),
    [
        (ENGLISH[:1], [], "the only row is in 'en'"),
        (GERMAN[:1], [], "the only row is in 'de'"),
        (ENGLISH, [], "all 1000 rows are in 'en'"),
        ([*ENGLISH, *GERMAN], ["en"], "rows are in 'en'"),
        (GERMAN, [], "all 30 rows are in 'de': headroom compares languages with English; add rows in English"),
        ([*GERMAN, *FRENCH], [], "rows are in 'de', 'fr': headroom compares languages with English; add rows in Engl"),
        ([*GERMAN, *FRENCH], ["de"], "all 30 rows are in 'de': headroom compares languages with English; add rows"),
        ([*ENGLISH, *rows("de", range(9), english="")], [], "has 'instruction_en', its English parallel (of de)"),
        ([*ENGLISH, *rows("de", range(9), english="")], ["de"], "has 'instruction_en', its English parallel (of de)"),
        (
            [*ENGLISH, *FRENCH, *rows("de", range(9), english="")],
            ["de"],
            "has 'instruction_en', its English parallel (of de)",
        ),
        ([*ENGLISH, *FRENCH, *rows("de", [1], english="")], ["de", "fr"], "no row in de has 'instruction_en'"),
        ([*ENGLISH, *FRENCH], ["de"], "no row of language de; the data has: en, fr"),
        ([*ENGLISH, *rows("de", [7], english="other")], [], "Its first is 'other 7', the first in English is 'quest"),
        ([*ENGLISH, *FRENCH, *rows("de", [7], english="other")], [], "de: no 'instruction_en' of its rows is the"),
        ([*ENGLISH, *rows("de", [7], "xquad")], [], "de: no 'instruction_en' of its rows is the"),
        ([*ENGLISH, *rows("de", [7], english="long " * 99)], [], "long …'"),
    ],
)
def test_rows_that_compare_nothing_are_refused(given: list[EvaluationRow], languages: list[str], words: str) -> None:
    with pytest.raises(EvaluationError) as refusal:
        chosen(given, languages)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
