"""Compare the detector's confidence with how often it is right, on pieces of a few words, and print a Markdown table.

python -m benchmarks.routing_reliability --data DIR
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.machine import markdown_table
from benchmarks.routing_texts import Half, sentences
from cc_core.language.detector import LanguageDetector

PIECES: Final = 8_000
#: The lower ends of the ranges of confidence, and of the numbers of letters.
CONFIDENCES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
LETTERS: Final = (0, 6, 12, 24)
_WORDS: Final = (1, 1, 2, 2, 3, 4, 6)
_CHARACTERS: Final = (2, 3, 4, 6, 8)  # of languages that are written without spaces


def pieces(data: Path, half: Half) -> list[tuple[str, str]]:
    """Languages and pieces of sentences, the same in every run."""
    chance = random.Random(0)
    texts = sentences(data, half)
    chance.shuffle(texts)
    found = []
    for language, text in texts[:PIECES]:
        words = text.split()
        parts, gap, length = (
            (text, "", chance.choice(_CHARACTERS)) if len(words) < 3 else (words, " ", chance.choice(_WORDS))
        )
        start = chance.randrange(max(1, len(parts) - length))
        found.append((language, gap.join(parts[start : start + length]).strip('.,;:!?"«»“”()。，、')))
    return [(language, text) for language, text in found if any(map(str.isalpha, text))]


def table(texts: list[tuple[str, str]]) -> str:
    """Mean confidence, share that is right and number of pieces, by confidence and number of letters, in Markdown."""
    detector = LanguageDetector(threshold=0.0)
    cells: dict[tuple[float, int], list[tuple[float, bool]]] = defaultdict(list)
    for language, text in texts:
        found = detector.detect(text)
        letters = sum(map(str.isalpha, text))
        row = max(low for low in CONFIDENCES if low <= found.confidence)
        column = max(low for low in LETTERS if low <= letters)
        cells[row, column].append((found.confidence, found.language == language))
    ends = [f"{low}–{high - 1}" for low, high in pairwise(LETTERS)] + [f"≥ {LETTERS[-1]}"]
    lines = [["confidence", *(f"{end} letters" for end in ends)]]
    lines += [[f"≥ {row:.2f}", *(_cell(cells[row, column]) for column in LETTERS)] for row in CONFIDENCES]
    return markdown_table(lines)


def _cell(found: list[tuple[float, bool]]) -> str:
    if not found:
        return "–"
    said, right = (statistics.fmean(column) for column in zip(*found, strict=True))
    return f"{said:.2f} / {right:.2f} / {len(found)}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="directory of ntrex/")
    parser.add_argument("--half", choices=("tune", "held_out"), default="held_out")
    options = parser.parse_args()
    print(table(pieces(options.data, options.half)))


if __name__ == "__main__":
    main()
