"""The language of a model's answer, line by line.

Names and numbers tell no language, and a short line hardly any. What cannot be judged has none.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Final

from cc_core.language.detector import LanguageDetector
from cc_core.language.prose import prose, window
from cc_core.language.scripts import script_of

SURE: Final = 0.9  # the detector's confidence from which a line counts
FEWEST_LETTERS: Final = 8  # of a line, as `cc_core.language.scripts.script_of` counts them

_DIGITS = re.compile(r"\d+")
# Words of the scripts that have capitals: Latin, Greek and Cyrillic.
_CASED = re.compile(r"[A-Za-z\u00c0-\u024f\u0300-\u03ff\u0400-\u052f\u1e00-\u1fff'’-]+")


def lines_of(answer: str) -> list[str]:
    """The lines of an answer's prose without numbers and names; words with a capital are taken for names."""
    return [_CASED.sub(_uncapitalised, _DIGITS.sub(" ", line)) for line in prose(answer).splitlines()]


def line_language(line: str) -> str | None:
    """The language that one of `lines_of` is surely in, served or not; None if that is not sure."""
    if script_of(line)[1] < FEWEST_LETTERS:
        return None
    found = _detector().detect(line)
    language, probability = found.scores[0] if found.scores else (None, 0.0)
    return language if probability >= SURE else None


def answer_language(answer: str, most_lines: int) -> str | None:
    """The language of most of an answer, by the length of the first lines that are sure; None if none is.

    Fenced code is left out, and JSON has none: it may be a tool's call, whose keys are English.
    """
    if answer.lstrip()[:1] in ("{", "["):
        return None
    lengths: Counter[str] = Counter()
    for line in lines_of(window(answer))[:most_lines]:
        if (language := line_language(line)) is not None:
            lengths[language] += len(line)
    return max(lengths, key=lambda language: lengths[language], default=None)


def _uncapitalised(word: re.Match[str]) -> str:
    return " " if any(character.isupper() for character in word[0]) else word[0]


@cache
def _detector() -> LanguageDetector:
    return LanguageDetector(threshold=SURE)
