"""Tells Japanese from Chinese in texts of Han characters with little or no kana.

National standards list the characters that writers of a country use. A character that a standard lacks was not
written there: 経 is only in JIS, 经 only in GB 2312, and 經 is rare in JIS and common in Big5. Where every standard has
all characters, frequencies decide: those of Japanese against those of simplified and traditional Chinese.
"""

from __future__ import annotations

import math
import re
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from cc_core.language.scripts import HAN, KANA

HAN_FILE: Final = Path(__file__).parent / "data/han.npz"
HAN_LETTER: Final = re.compile(f"[{HAN}]")
# The encoding of each standard, and the first bytes of its common characters: Japanese, simplified, traditional.
_STANDARDS: Final = (("euc_jp", 0xB0, 0xCF), ("gb2312", 0xB0, 0xD7), ("big5", 0xA4, 0xC6))
_RARE: Final = 0.5
# How much a character counts that a standard lacks, in powers of ten; and a kana in a text that has few, since the
# Japanese の is fashionable in Chinese names.
_LACKING: Final = 3.0
_FEW_KANA: Final = 1.0
# The share of Chinese that is written in traditional characters, for a short text.
_TRADITIONAL: Final = 0.4
# In a text of fewer characters, those that one standard of Chinese lacks count less.
_FEW_HAN: Final = 3
# Characters of a text depend on each other: together they tell this share of what independent ones would.
_DEPENDENCE: Final = 0.55
# A share of kana that Chinese text never has and Japanese text nearly always has.
_KANA_SHARE: Final = 0.1
_JAPANESE_LETTER: Final = re.compile(f"[{KANA}々〆ヶ]")
_FASHIONABLE: Final = re.compile("[のノ]")
# How many Han characters of a text are read; more of them would not change the answer.
_ENOUGH: Final = 60


def japanese_probability(text: str) -> float:
    """The probability that ``text``, which has kana or Han characters, is Japanese and not Chinese."""
    han = HAN_LETTER.findall(text)
    kana = len(_JAPANESE_LETTER.findall(text))
    telling = kana - len(_FASHIONABLE.findall(text))
    if telling > _KANA_SHARE * (telling + len(han)) or not han:
        return 1.0
    han = han[:_ENOUGH]
    japanese, lacking, traditional = map(sum, zip(*map(standing, han), strict=True))
    odds = _odds()
    listed = [odds[run] for run in (*han, *map("".join, pairwise(han))) if run in odds]
    against_simplified = _LACKING * lacking + sum(against for against, _ in listed)
    against_traditional = _LACKING * traditional + sum(against for _, against in listed)
    likelier = min(against_simplified, against_traditional)
    doubts = _chinese_doubt(against_simplified - likelier, against_traditional - likelier)
    doubt = doubts * min(len(han) / _FEW_HAN, 1)
    score = likelier + doubt - _LACKING * japanese + _FEW_KANA * kana
    return 1 / (1 + 10 ** max(min(-_DEPENDENCE * score, 9.0), -9.0))


def _chinese_doubt(simplified: float, traditional: float) -> float:
    """By how many powers of ten a Chinese writer is less likely, whichever of the two standards they use.

    Args:
        simplified: the same for a writer of simplified characters.
        traditional: the same for a writer of traditional characters.
    """
    return -math.log10((1 - _TRADITIONAL) * 10**-simplified + _TRADITIONAL * 10**-traditional)


@lru_cache(maxsize=1 << 14)
def standing(character: str) -> tuple[float, float, float]:
    """How foreign ``character`` is to Japanese, simplified and traditional writing: 0 if common, 1 if unknown there."""
    return tuple(_foreign(character, *standard) for standard in _STANDARDS)  # type: ignore[return-value]


def _foreign(character: str, encoding: str, first: int, last: int) -> float:
    try:
        code = character.encode(encoding)
    except UnicodeEncodeError:
        return 1.0
    if len(code) != 2:  # JIS X 0212, which no keyboard has
        return 1.0
    return 0.0 if first <= code[0] <= last else _RARE


@cache
def _odds() -> dict[str, tuple[float, float]]:
    """By how many powers of ten a character or a pair is more common in Japanese than in either writing of Chinese."""
    with np.load(HAN_FILE) as arrays:
        runs = arrays["runs"].tobytes().decode().split("\n")
        # There are few different tuples; each is kept once.
        kept: dict[tuple[int, int], tuple[float, float]] = {}
        pairs = ((simplified, traditional) for simplified, traditional in arrays["odds"].tolist())
        return {run: kept.setdefault(pair, (pair[0] / 10, pair[1] / 10)) for run, pair in zip(runs, pairs, strict=True)}
