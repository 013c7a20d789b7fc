"""How far to trust a probability that rests on few letters."""

from __future__ import annotations

import re
from typing import Final

# How much to doubt a script that only one language uses, divided by the number of letters.
_DOUBT: Final = 0.3
# Names and acronyms are no language, although n-grams find one.
_ACRONYM = re.compile(r"[A-Z]{2,6}s?\d*$")
# Digits that are a task, and no part of a name.
_ARITHMETIC = re.compile(r"[\d)]\s?[-+*/^=×÷·:−]\s?[\d(]|=")
_NAME_SHARE: Final = 0.5
_NAMES_SHARE: Final = 0.75
_FEW_SHARE: Final = 0.8
_LAST_LATIN: Final = "\u024f"
_LONGEST_NAME: Final = 15
_FEW: Final = 3


def believed(probability: float, text: str, letters: int, *, script_alone: bool) -> float:
    """``probability``, lowered if ``text`` is short or looks like a name.

    Args:
        probability: that of the likeliest language.
        text: the text that was judged.
        letters: how many letters it has, as `cc_core.language.scripts.script_of` counts them.
        script_alone: whether the script alone decided the language, and not the words.
    """
    if script_alone:
        return min(probability, 1 - _DOUBT / max(letters, 1))
    words = [word for word in text.split() if word[0].isalpha()] if letters <= _LONGEST_NAME else []
    if not words or words[0][0] > _LAST_LATIN:  # other scripts have neither capitals nor so many languages
        return probability
    if all(map(_ACRONYM.match, words)) or (
        letters < 8 and any(map(str.isdigit, text)) and not _ARITHMETIC.search(text)
    ):
        return probability * _NAME_SHARE
    if letters <= _FEW:
        return probability * _FEW_SHARE
    if len(words) > 1 and all(word[0].isupper() for word in words):
        return probability * _NAMES_SHARE
    return probability
