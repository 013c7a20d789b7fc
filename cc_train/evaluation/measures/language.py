"""Whether an answer is in the question's language, by line and by word.

Names and numbers tell no language, and a short line hardly any. What cannot be judged is left out, not taken for right.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector
from cc_core.language.prose import prose
from cc_core.language.scripts import SCRIPTS, script_of

LINES: Final = "own_lines"
WORDS: Final = "own_words"
SURE: Final = 0.9  # the detector's confidence from which a line counts
FEWEST_LETTERS: Final = 8  # of a line, as `cc_core.language.scripts.script_of` counts them

_DIGITS = re.compile(r"\d+")
# Words of the scripts that have capitals: Latin, Greek and Cyrillic.
_CASED = re.compile(r"[A-Za-z\u00c0-\u024f\u0300-\u03ff\u0400-\u052f\u1e00-\u1fff'’-]+")


def score_language(answer: str, lang: str) -> dict[str, float]:
    """``own_lines`` and ``own_words``, each 0 to 1; without one that nothing in the answer tells.

    ``own_lines`` is the share of lines in ``lang``, among those whose language is sure. ``own_words`` is the share of
    words in the script of ``lang``; a run of characters counts as a word. Words with a capital are taken for names.
    """
    if lang not in SERVED_LANGUAGES:
        return {}
    lines = [_CASED.sub(_uncapitalised, _DIGITS.sub(" ", line)) for line in prose(answer).splitlines()]
    judged = [found == lang for line in lines if (found := _language(line)) is not None]
    words = [lang in script.languages for script in SCRIPTS for line in lines for _ in script.words.findall(line)]
    shares = {LINES: judged, WORDS: words}
    return {name: sum(right) / len(right) for name, right in shares.items() if right}


def _uncapitalised(word: re.Match[str]) -> str:
    return " " if any(character.isupper() for character in word[0]) else word[0]


def _language(line: str) -> str | None:
    """The language that the line is surely in, served or not; None if that is not sure."""
    if script_of(line)[1] < FEWEST_LETTERS:
        return None
    found = _detector().detect(line)
    language, probability = found.scores[0] if found.scores else (None, 0.0)
    return language if probability >= SURE else None


@cache
def _detector() -> LanguageDetector:
    return LanguageDetector(threshold=SURE)
