"""Pairs whose texts do not mean the same are suspected, and true pairs hardly ever."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from importlib.resources import files

import pytest

from cc_train.data.parallels import numbers, unequal_pairs
from cc_train.data.reading import read_rows
from cc_train.data.rows import Row
from tests.support.tiny_rows import row


@pytest.fixture(scope="module")
def pairs() -> list[Row]:
    return [row for row in read_rows([str(files("cc_train") / "data" / "sample.jsonl")])[0] if row.connected]


def test_true_pairs_are_hardly_suspected(pairs: list[Row]) -> None:
    assert len(unequal_pairs(pairs)) <= len(pairs) // 100


def test_most_word_problems_that_slipped_are_found(pairs: list[Row]) -> None:
    """A tenth of each language's rows gets another row's English; questions without numbers are not counted."""
    chosen, moved, draw = set(), list(pairs), random.Random(0)
    by_language = defaultdict(list)
    for i, pair in enumerate(pairs):
        if pair.task == "mgsm":
            by_language[pair.lang].append(i)
    for indices in by_language.values():
        for i in draw.sample(indices, max(1, len(indices) // 10)):
            others = [j for j in indices if pairs[j].instruction_en != pairs[i].instruction_en]
            moved[i] = replace(pairs[i], instruction_en=pairs[draw.choice(others)].instruction_en)
            chosen.add(i)
    found = unequal_pairs(moved).keys() & chosen
    assert len(found) >= 0.8 * len(chosen)


@pytest.mark.parametrize(
    ("own", "english", "problem"),
    [
        ("Was ist 3 mal 4?", "What is 5 times 6?", "no number in common"),
        ("Wann starb Bach in Leipzig?", "When did Albert Einstein leave for Princeton?", "no name"),
    ],
)
def test_what_differs_is_said(own: str, english: str, problem: str) -> None:
    (found,) = unequal_pairs([row(instruction=own, instruction_en=english)]).values()
    assert problem in found


def test_a_length_is_compared_with_the_languages_own() -> None:
    usual = [row(instruction="wort " * n, instruction_en="word " * n) for n in range(6, 16)]
    assert unequal_pairs(usual) == {}
    assert list(unequal_pairs([*usual, row(instruction="wort", instruction_en="word " * 20)])) == [len(usual)]


def test_numbers_are_read_in_any_script_and_style() -> None:
    assert numbers("88 000, 1.5 und ۱۲٬۰۰۰ oder १२") == {"88000", "15", "12000", "12"}
