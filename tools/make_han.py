"""Make `cc_core/language/data/han.npz`: which characters and pairs of Han are commoner in Japanese than in Chinese.

    pip install wordfreq==3.1.1 opencc-python-reimplemented==0.1.7
    python -m tools.make_han

wordfreq writes all Chinese in simplified characters. OpenCC rewrites its words as they are in Taiwan and in Hong Kong.
Whole words, since one simplified character stands for several traditional ones: 皇后 stays, and 后面 becomes 後面.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import numpy as np

from cc_core.language.han import HAN_FILE, HAN_LETTER, standing

# A pair that neither language uses so often tells nothing; nor does one that both use about as often.
COMMON: Final = 2e-6
TELLING: Final = 0.3
# What a character or pair counts that the lists do not have, as a share of all.
UNSEEN: Final = {1: 1e-6, 2: 2e-6}
# OpenCC's names of what traditional Chinese is taken from, in equal shares: Taiwan with its own words, and Hong Kong.
TRADITIONAL: Final = ("s2twp", "s2hk")
# Numbers and dates, which Japanese word lists divide and Chinese ones do not. So their pairs tell of the lists only.
NUMBERS: Final = frozenset("〇一二三四五六七八九十百千第年月日条條号號")

Shares = dict[str, float]


def words_of(language: str) -> list[tuple[str, float]]:
    """The words of ``language`` and how often each is used."""
    from wordfreq import get_frequency_dict

    return list(get_frequency_dict(language, wordlist="best").items())


def traditional(words: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Chinese ``words`` in traditional characters."""
    from opencc import OpenCC

    converters = [OpenCC(name) for name in TRADITIONAL]
    return [(converter.convert(word), share) for word, share in words for converter in converters]


def shares(words: Iterable[tuple[str, float]], length: int) -> Shares:
    """The share of each run of ``length`` Han characters in ``words``."""
    counts: dict[str, float] = defaultdict(float)
    for word, share in words:
        for start in range(len(word) - length + 1):
            run = word[start : start + length]
            if all(map(HAN_LETTER.match, run)):
                counts[run] += share
    total = sum(counts.values())
    return {run: count / total for run, count in counts.items()}


def odds(japanese: Shares, chinese: Shares, standard: int) -> dict[str, int]:
    """Tenths of powers of ten by which runs are commoner in ``japanese``, of characters that ``standard`` has.

    Args:
        standard: the place of the Chinese standard in what `standing` answers.
    """
    found = {}
    for run in sorted({*japanese, *chinese}):
        share, other = japanese.get(run, 0.0), chinese.get(run, 0.0)
        value = math.log10((share + UNSEEN[len(run)]) / (other + UNSEEN[len(run)]))
        known = all(standing(character)[standard] < 1 for character in run)
        pair = len(run) > 1
        if known and abs(value) > TELLING and not (pair and (max(share, other) <= COMMON or NUMBERS.issuperset(run))):
            found[run] = round(10 * value)
    return found


def main() -> None:
    """Run the command."""
    japanese, simplified = words_of("ja"), words_of("zh")
    tables: list[dict[str, int]] = []
    for place, chinese in enumerate((simplified, traditional(simplified)), 1):
        table: dict[str, int] = {}
        for length in UNSEEN:
            table |= odds(shares(japanese, length), shares(chinese, length), place)
        tables.append(table)
    runs = sorted(set().union(*tables), key=lambda run: (len(run), run))
    columns = [[table.get(run, 0) for table in tables] for run in runs]
    np.savez_compressed(
        HAN_FILE, runs=np.frombuffer("\n".join(runs).encode(), np.uint8), odds=np.array(columns, np.int8)
    )
    print(HAN_FILE, len(runs), "characters and pairs,", HAN_FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
