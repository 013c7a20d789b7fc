"""Brings letters into the form that the tables have. Only detection sees the result; the prompt stays as it is."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Zero-width and formatting characters, variation selectors, and fillers. They stand inside words.
_INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e01ef"
)
# Marks that writers may leave out: vowel signs of Hebrew and Arabic, signs of recitation, the tatweel of calligraphy.
_VOWEL_SIGNS: Final = (
    r"\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u08d3-\u08ff"
)
# After NFKC, Latin text keeps only the marks of Yoruba and Vietnamese: grave, acute, tilde, macron, dot and line below.
# These are the others: stress on Cyrillic and Greek letters, and marks that cover or underline text of any script.
_OTHER_MARKS: Final = (
    r"\u0302\u0305-\u0322\u0324-\u0328\u032a-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
)

_DOUBTFUL = re.compile(f"[{_INVISIBLE}{_VOWEL_SIGNS}\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe70-\ufe7f]")
_DROPPED = re.compile(f"[{_INVISIBLE}]+")
_MARKS = re.compile(rf"[{_VOWEL_SIGNS}{_OTHER_MARKS}]+|(?<=[\u0370-\u052f\u1f00-\u1fff])[\u0300-\u036f]+")
_WASLA, _ALEF = "\u0671", "\u0627"


def normalise(text: str) -> str:
    """``text`` in NFKC, without invisible characters, and without marks that writers leave out.

    Full-width and presentation forms become plain letters. Diacritics that belong to a letter remain.
    """
    if text.isascii():
        return text
    doubtful = _DOUBTFUL.search(text) is not None
    if doubtful:
        text = _DROPPED.sub("", text)
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    if doubtful:
        text = _MARKS.sub("", text)
    return text.replace(_WASLA, _ALEF) if _WASLA in text else text


def unaccented(text: str) -> str:
    """``text`` without the marks of Latin, Greek and Cyrillic letters, as it is typed on keyboards without them."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn" or ord(c) > 0x36F)
