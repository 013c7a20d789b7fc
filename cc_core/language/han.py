"""Tells Japanese from Chinese where a text is written in Han characters, with little or no kana.

The national standards know which characters a writer of each country has. What one standard lacks was not
written there: 経 is in JIS only, 经 in GB 2312 only, and 經 is rare in JIS and common in Big5. Where all are common to
the countries, frequencies decide: those of Japanese against those of simplified and of traditional Chinese.
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
# How much a character that a standard lacks counts, in powers of ten, and what a kana counts in a text that has few:
# the Japanese の is fashionable in Chinese names.
_LACKING: Final = 3.0
_FEW_KANA: Final = 1.0
# How much of Chinese is written in traditional characters, as far as a short text is concerned.
_TRADITIONAL: Final = 0.4
# Fewer characters, which one standard of Chinese lacks, tell less.
_FEW_HAN: Final = 3
# Texts have this much less to say than their characters would, if these were independent.
_DEPENDENCE: Final = 0.55
# A share of kana that Chinese text never has and Japanese text nearly always has.
_KANA_SHARE: Final = 0.1
_JAPANESE_LETTER: Final = re.compile(f"[{KANA}々〆ヶ]")
_FASHIONABLE: Final = re.compile("[のノ]")
# Beyond so many characters, more of them add nothing.
_ENOUGH: Final = 60


def japanese_probability(text: str) -> float:
    """How likely ``text``, which has kana or Han characters, is Japanese and not Chinese."""
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
    """Powers of ten by which a Chinese writer is less likely, whichever of the two standards they use.

    Args:
        simplified: powers of ten by which a writer of simplified characters is.
        traditional: powers of ten by which a writer of traditional characters is.
    """
    return -math.log10((1 - _TRADITIONAL) * 10**-simplified + _TRADITIONAL * 10**-traditional)


@lru_cache(maxsize=1 << 14)
def standing(character: str) -> tuple[float, float, float]:
    """How foreign ``character`` is to Japanese, simplified and traditional writing: 0 common, 1 lacking."""
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
    """Powers of ten by which a character or a pair is commoner in Japanese than in either writing of Chinese."""
    with np.load(HAN_FILE) as arrays:
        runs = arrays["runs"].tobytes().decode().split("\n")
        # Few tuples differ, and those that do not are kept once.
        kept: dict[tuple[int, int], tuple[float, float]] = {}
        pairs = ((simplified, traditional) for simplified, traditional in arrays["odds"].tolist())
        return {run: kept.setdefault(pair, (pair[0] / 10, pair[1] / 10)) for run, pair in zip(runs, pairs, strict=True)}
