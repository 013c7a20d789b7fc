"""Rows that can be trained on, and probably should not: what is wrong with each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from cc_core.language.scripts import script_of
from cc_core.names import ENGLISH
from cc_train.data.damage import damage
from cc_train.data.parallels import unequal_pairs
from cc_train.data.rows import Row
from cc_train.data.text_language import ALIKE, KNOWN, disagreement, sure_language, text_script

# An answer shorter than this is often a name, which belongs to no language.
_ANSWER_LETTERS = 15
_ANSWER_WORDS = 4
_HAN_LETTERS = 36  # twelve characters: names in Han are Chinese and Japanese


def suspicions(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The names of suspicious rows, by what is wrong."""
    found: dict[str, list[str]] = defaultdict(list)
    english: dict[str, str | None] = {}  # a parallel prompt comes once in every language
    unequal = unequal_pairs(rows)
    for i, row in enumerate(rows):
        for problem in [*_damages(row), *_languages(row, english)]:
            found[problem].append(row.name)
        if row.connected and row.instruction == row.instruction_en:
            found["instruction equals instruction_en"].append(row.name)
        elif i in unequal:
            found[unequal[i]].append(row.name)
        if row.output and row.output == row.instruction:
            found["output equals instruction"].append(row.name)
    return dict(found)


def answer_language(row: Row) -> str | None:
    """The language that a row's answer is surely in; None if it may be any."""
    script, letters = text_script(row.output), script_of(row.output)[1]
    if letters < {"Latn": _ANSWER_LETTERS, "Hani": _HAN_LETTERS}.get(str(script), 0):
        return None
    if script == "Latn":
        words = row.output.split()
        capitals = sum(word[0].isupper() for word in words)
        if len(words) < _ANSWER_WORDS or (2 * capitals > len(words) and len(words) < 2 * _ANSWER_WORDS):
            return None
    return sure_language(row.output)


def other_answer_language(row: Row) -> str | None:
    """The language that a row's answer is surely in, if it is another than the row's."""
    answer = answer_language(row)
    if answer in (None, row.lang) or any({row.lang, answer} <= group for group in ALIKE):
        return None
    return answer if row.lang in KNOWN or answer == ENGLISH else None


def _damages(row: Row) -> list[str]:
    fields = ("instruction", "instruction_en", "output")
    own_parallel = row.instruction == row.instruction_en
    return [
        f"{name} {problem}"
        for name in fields
        if (text := getattr(row, name)) and not (own_parallel and name == "instruction_en")
        if (problem := damage(text))
    ]


def _languages(row: Row, english: dict[str, str | None]) -> list[str]:
    """What is wrong with the languages of a row's texts."""
    if row.connected and row.instruction == row.instruction_en:
        return []
    found = []
    if problem := disagreement(row.lang, row.instruction):
        found.append(problem)
    if row.instruction_en not in english:
        english[row.instruction_en] = sure_language(row.instruction_en)
    if row.instruction_en != row.instruction and english[row.instruction_en] not in (None, ENGLISH):
        found.append(f"instruction_en looks like {english[row.instruction_en]}")
    answer = other_answer_language(row)
    # With a wrong code, an answer in the instruction's language is no second finding.
    if answer and not (problem and sure_language(row.instruction) == answer):
        found.append(f"lang is {row.lang}, and output looks like {answer}")
    return found
