"""Knows the words with which people ask for something to be done, in every language that is served."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from cc_core.language.normalisation import normalise

REQUESTS_FILE: Final = Path(__file__).parent / "data/requests.txt"
# They write no spaces between words, or join endings to them.
_UNSPACED: Final = frozenset(("ja", "ko", "th", "zh"))


def is_request(text: str) -> bool:
    """Whether ``text``, as `normalise` leaves it, asks for something to be done to what follows."""
    return _pattern().search(text) is not None


@cache
def _pattern() -> re.Pattern[str]:
    spaced: set[str] = set()
    unspaced: set[str] = set()
    for line in REQUESTS_FILE.read_text("utf-8").splitlines():
        language, _, words = line.partition(": ")
        if line[:1] != "#":
            (unspaced if language in _UNSPACED else spaced).update(map(normalise, words.split(", ")))
    return re.compile(rf"(?<!\w)(?:{_any_of(spaced)})(?!\w)|{_any_of(unspaced)}", re.IGNORECASE)


def _any_of(words: set[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", "[ -]") for word in sorted(words, key=len, reverse=True))
