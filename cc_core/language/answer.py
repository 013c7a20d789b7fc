"""The language of a model's answer, line by line.

Names, numbers and code do not show a language, and a short line hardly does. A line that cannot be judged has none.
Names are known by their capital letter. In a script without capitals, a short line may be nothing but names, so that a
line has to be longer.
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
# In scripts without capitals, a sentence is known by this many words without a comma between them; in scripts without
# spaces, by a run of letters. Katakana do not count, since they write foreign names.
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
    """The lines of an answer's prose without numbers and names; a word with a capital letter is taken for a name.

    Code is left out. JSON gives no lines: it may be a tool call, whose keys are English.
    """
    return [_CASED.sub(_uncapitalised, _DIGITS.sub(" ", line)) for line in prose(without_code(answer)).splitlines()]


def line_language(line: str) -> str | None:
    """The language of a line from `lines_of`, served or not; None where the detector is less than `SURE`."""
    script, letters = script_of(line)
    if letters < FEWEST_LETTERS or (script is not None and _may_be_names(script, line)):
        return None
    found = _detector().detect(line)
    language, probability = found.scores[0] if found.scores else (None, 0.0)
    return language if probability >= SURE else None


def answer_language(answer: str, most_lines: int) -> str | None:
    """The language of most of an answer: of its first ``most_lines`` lines, each weighted by its length.

    Lines whose language is not sure do not count; None if no line counts.
    """
    lengths: Counter[str] = Counter()
    for line in lines_of(answer)[:most_lines]:
        if (language := line_language(line)) is not None:
            lengths[language] += len(line)
    return max(lengths, key=lambda language: lengths[language], default=None)


def _may_be_names(script: Script, line: str) -> bool:
    """Whether a line may consist of names only, in a ``script`` without capitals that would tell."""
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
