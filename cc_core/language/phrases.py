"""Phrases that are a whole turn: greetings, thanks, yes and no. N-grams are too coarse to tell their language."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

from cc_core.language.normalisation import unaccented

PHRASES_FILE: Final = Path(__file__).parent / "data/phrases.txt"
#: The characters of the longest phrase.
LONGEST: Final = 24
# The probability that a listed phrase is in the language of its list.
CONFIDENCE: Final = 0.95


def phrase_language(text: str) -> str | None:
    """The language in which all of ``text`` is such a phrase; None if there is none, or several languages."""
    return _languages().get(_key(text)) if len(text) <= LONGEST else None


@cache
def _languages() -> dict[str, str]:
    lines = (line.partition(": ") for line in PHRASES_FILE.read_text("utf-8").splitlines() if line[:1] != "#")
    listed = [(language, phrase) for language, _, phrases in lines for phrase in phrases.split(", ")]
    found = {(key, language) for language, phrase in listed for key in (_key(phrase), _key(unaccented(phrase)))}
    times = Counter(key for key, _ in found)
    return {key: language for key, language in found if times[key] == 1}


def _key(text: str) -> str:
    # Marks of Yoruba and Indic vowel signs are not alphanumeric, but belong to their words.
    marked = unicodedata.normalize("NFC", text.lower())
    return (
        "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in marked)
        .strip()
        .replace("  ", " ")
    )
