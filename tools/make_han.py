"""Make `cc_core/language/data/han.npz`: which characters and pairs of Han are commoner in Japanese than in Chinese.

    pip install --no-deps wordfreq msgpack
    python -m tools.make_han

Only characters that simplified Chinese has, too: wordfreq writes all Chinese in simplified characters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Final

import numpy as np

from cc_core.language.han import HAN_FILE, HAN_LETTER, standing

# A pair that neither language uses so often tells nothing; nor does one that both use about as often.
COMMON: Final = 2e-5
TELLING: Final = 0.3
# What a character or pair counts that the lists do not have, as a share of all.
UNSEEN: Final = {1: 1e-6, 2: 2e-6}


def shares(language: str, length: int) -> dict[str, float]:
    """The share of each run of ``length`` Han characters, by the words of ``language``."""
    from wordfreq import get_frequency_dict

    counts: dict[str, float] = defaultdict(float)
    for word, share in get_frequency_dict(language, wordlist="best").items():
        for start in range(len(word) - length + 1):
            run = word[start : start + length]
            if all(map(HAN_LETTER.match, run)):
                counts[run] += share
    total = sum(counts.values())
    return {run: count / total for run, count in counts.items()}


def main() -> None:
    """Run the command."""
    odds: dict[str, int] = {}
    for length, unseen in UNSEEN.items():
        ja, zh = shares("ja", length), shares("zh", length)
        for run in sorted({*ja, *zh}):
            share, other = ja.get(run, 0.0), zh.get(run, 0.0)
            simplified = all(standing(character)[1] < 1 for character in run)
            value = math.log10((share + unseen) / (other + unseen))
            if simplified and abs(value) > TELLING and max(share, other) > (COMMON if length == 2 else 0):
                odds[run] = round(10 * value)
    runs = np.frombuffer("\n".join(odds).encode(), np.uint8)
    np.savez_compressed(HAN_FILE, runs=runs, odds=np.array(list(odds.values()), np.int8))
    print(HAN_FILE, len(odds), "characters and pairs,", HAN_FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
