"""The probability of a text's words in each language, from lists of each language's commonest words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cc_core.language.scripts import ARABIC, CYRILLIC, DEVANAGARI, LATIN, Script

WORDS_FILE: Final = Path(__file__).parent / "data/words.npz"
#: The scripts whose languages have lists.
SCRIPTS_WITH_WORDS: Final = (LATIN, ARABIC, CYRILLIC, DEVANAGARI)
#: In the file, a score is -10 times the common logarithm of a word's share of its language. This one stands for zero.
FLOOR: Final = 70
# The score of every word in a language that has no list.
UNLISTED: Final = 51
# Unlisted words have at least this share of every language, since the lists come from other texts than prompts.
FEWEST_OTHERS: Final = 0.15

# A lone letter after an apostrophe is an ending, as in "it's".
_LETTERS: Final = "".join(script.letters for script in SCRIPTS_WITH_WORDS)
_WORD: Final = re.compile(f"[{_LETTERS}]{{2,}}|(?<!['’])[{_LETTERS}]")


def words_of(text: str) -> list[str]:
    """The words of ``text`` in lower case."""
    # In lower case, İ is an i with a combining dot, which the lists do not have.
    return _WORD.findall(unicodedata.normalize("NFC", text.lower()).replace("i\u0307", "i"))


@dataclass(frozen=True)
class WordTable:
    """The words of a script.

    Args:
        languages: C codes.
        rows: the row of each word in ``scores``.
        scores: [words, C] common logarithm of each word's share of each language.
        others: [C] common logarithm of the share of all unlisted words together.
    """

    languages: tuple[str, ...]
    rows: dict[str, int]
    scores: NDArray[np.float32]
    others: NDArray[np.float32]

    def rows_of(self, words: list[str]) -> list[int]:
        """The rows of those ``words`` that are in the table, in their order."""
        return list(map(self.rows.__getitem__, filter(self.rows.__contains__, words)))

    def lookup(self, rows: list[int]) -> NDArray[np.float32]:
        """The scores [N, C] of N ``rows``."""
        return self.scores.take(np.array(rows, np.intp), 0)


@cache
def word_table(script: Script, languages: tuple[str, ...]) -> WordTable:
    """The table of ``script``, with a column for each of ``languages``. A language may have no list."""
    with np.load(WORDS_FILE) as arrays:
        words = arrays[f"{script.name}.words"].tobytes().decode().split("\n")
        listed = arrays[f"{script.name}.languages"].tolist()
        tenths = arrays[f"{script.name}.scores"]
    scores = np.full((len(words), len(languages)), -UNLISTED / 10, np.float32)
    for column, language in enumerate(languages):
        if language in listed:
            scores[:, column] = tenths[:, listed.index(language)] / -10
    others = np.log10(np.maximum(1 - (10**scores).sum(0), FEWEST_OTHERS))
    return WordTable(languages, {word: row for row, word in enumerate(words)}, scores, others)
