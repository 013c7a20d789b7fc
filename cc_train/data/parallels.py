"""Whether two texts may be translations of one another: their numbers, their names and their lengths.

Only a model could compare meanings. These measures find pairs that are shifted by a row, cut, or filled in from another
file; the how-to says how many of those they find, and how many true pairs they suspect.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from cc_train.data.rows import Row
from cc_train.data.text_language import text_script

# A pair this many times longer or shorter than its language's pairs usually are is suspicious.
_LENGTH_FACTOR = 2.5
_SHORTEST = 20  # characters of English, below which a length says little
_FEWEST_PAIRS = 8  # of a language, to know its usual length
_NUMBER = re.compile(r"\d(?:(?:[\d.,٫٬'’\u00a0\u202f]| (?=\d{3}\b))*\d)?")
_WORD = re.compile(r"[^\W\d_]+")
_NAME_LETTERS = 4  # that names share in two languages: Germany, German
_FEWEST_NAMES = 2


def unequal_pairs(rows: Sequence[Row]) -> dict[int, str]:
    """What differs, by the index of a row whose texts probably do not mean the same."""
    usual = _usual_lengths(rows)
    found = {}
    for i, row in enumerate(rows):
        if not row.connected or not row.instruction_en:
            continue
        problem = _difference(row.instruction, row.instruction_en, usual.get(row.lang))
        if problem:
            found[i] = problem
    return found


def _difference(own: str, english: str, usual: float | None) -> str | None:
    mine, theirs = numbers(own), numbers(english)
    if mine and theirs and not mine & theirs:
        return "instruction and instruction_en have no number in common"
    if max(len(mine), len(theirs)) >= 3 and 4 * len(mine & theirs) < max(len(mine), len(theirs)):
        return "instruction and instruction_en have few numbers in common"
    if text_script(own) == "Latn" and not mine & theirs:
        names, others = _names(english), {word[:_NAME_LETTERS] for word in _words(own)}
        if len(names) >= _FEWEST_NAMES and not names & others:
            return "instruction has no name of instruction_en"
    if usual is not None and len(english) >= _SHORTEST:
        off = math.exp(abs(_log_ratio(own, english) - usual))
        if off >= _LENGTH_FACTOR:
            return "instruction is much longer or shorter than its English, compared with other rows of its language"
    return None


def numbers(text: str) -> set[str]:
    """The numbers of a text as Western digits, without what separates thousands or decimals."""
    return {
        "".join(str(unicodedata.digit(c)) for c in match if c.isdigit()).lstrip("0") or "0"
        for match in _NUMBER.findall(text)
    }


def _names(english: str) -> set[str]:
    """How the names in an English text begin: words with a capital that begin no sentence."""
    found = re.findall(r"(?<![.!?:\n\"'“(] )(?<=[^\W\d_,;] )[A-Z][a-zà-ÿ]{3,}", english)
    return {_plain(name)[:_NAME_LETTERS] for name in found}


def _words(text: str) -> Iterable[str]:
    return (_plain(word) for word in _WORD.findall(text))


def _plain(word: str) -> str:
    """Without accents and capitals."""
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c)).casefold()


def _usual_lengths(rows: Sequence[Row]) -> dict[str, float]:
    ratios: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.connected and len(row.instruction_en) >= _SHORTEST:
            ratios[row.lang].append(_log_ratio(row.instruction, row.instruction_en))
    return {lang: median(values) for lang, values in ratios.items() if len(values) >= _FEWEST_PAIRS}


def _log_ratio(own: str, english: str) -> float:
    return math.log(max(len(own), 1) / max(len(english), 1))
