"""The language of a model's answer, line by line.

Names, numbers and code tell no language, and a short line hardly any. What cannot be judged has none. Names are known
by their capital; scripts that have none need a longer line, since a short one may be all names.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Final

from cc_core.language.code import without_code
from cc_core.language.detector import LanguageDetector
from cc_core.language.prose import prose
from cc_core.language.scripts import CYRILLIC, EAST_ASIAN, GREEK, HAN, LATIN, THAI, Script, script_of

SURE: Final = 0.9  # the detector's confidence from which a line counts
FEWEST_LETTERS: Final = 8  # of a line, as `cc_core.language.scripts.script_of` counts them
# Without capitals, names are told from sentences by words between commas, or by letters in a row where words are not
# set apart; Katakana are left out, since they write foreign names.
FEWEST_WORDS: Final = 5
_LONG_RUNS: Final = {
    EAST_ASIAN: re.compile(rf"[{HAN}\u3041-\u309f]{{8}}"),
    THAI: re.compile(rf"[{THAI.letters}]{{20}}"),
}

_DIGITS = re.compile(r"\d+")
# Words of the scripts that have capitals: Latin, Greek and Cyrillic.
_CASED = re.compile(r"[A-Za-z\u00c0-\u024f\u0300-\u03ff\u0400-\u052f\u1e00-\u1fff'’-]+")
_COMMAS = re.compile(r"[,،、，;؛；:·・/|()]|\s[-–—]\s")


def lines_of(answer: str) -> list[str]:
    """The lines of an answer's prose without numbers and names; words with a capital are taken for names.

    Code is left out, and JSON has no lines: it may be a tool's call, whose keys are English.
    """
    return [_CASED.sub(_uncapitalised, _DIGITS.sub(" ", line)) for line in prose(without_code(answer)).splitlines()]


def line_language(line: str) -> str | None:
    """The language that one of `lines_of` is surely in, served or not; None if that is not sure."""
    script, letters = script_of(line)
    if letters < FEWEST_LETTERS or (script is not None and _may_be_names(script, line)):
        return None
    found = _detector().detect(line)
    language, probability = found.scores[0] if found.scores else (None, 0.0)
    return language if probability >= SURE else None


def answer_language(answer: str, most_lines: int) -> str | None:
    """The language of most of an answer, by the length of the first lines that are sure; None if none is."""
    lengths: Counter[str] = Counter()
    for line in lines_of(answer)[:most_lines]:
        if (language := line_language(line)) is not None:
            lengths[language] += len(line)
    return max(lengths, key=lambda language: lengths[language], default=None)


def _may_be_names(script: Script, line: str) -> bool:
    """Whether a line in ``script`` may be names alone, which no capital tells."""
    if script in (LATIN, CYRILLIC, GREEK):
        return False
    if script in _LONG_RUNS:
        return _LONG_RUNS[script].search(line) is None
    return max(len(script.words.findall(piece)) for piece in _COMMAS.split(line)) < FEWEST_WORDS


def _uncapitalised(word: re.Match[str]) -> str:
    return " " if any(character.isupper() for character in word[0]) else word[0]


@cache
def _detector() -> LanguageDetector:
    return LanguageDetector(threshold=SURE)
