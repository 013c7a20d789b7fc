"""Write the playground's questions anew: ``python -m tools.playground_questions``.

The server must not read the training package, so ``cc_serve/playground/questions.jsonl`` holds a copy of some rows of
the training sample. Run this after the sample has changed. Rows without an ``id`` are the playground's own, for the
languages that the sample lacks; they stay as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import cc_train

QUESTIONS: Final = Path(__file__).parents[1] / "cc_serve/playground/questions.jsonl"
SAMPLE: Final = Path(cc_train.__file__).parent / "data/sample.jsonl"
#: Questions of a language.
PER_LANGUAGE: Final = 6
# Questions of MKQA for the newest film, the last impeachment and the present governor, as of 2019.
_DATED: Final = ("-524", "-318", "-785")


def questions() -> str:
    """What the file should hold: of each language the sample's first rows, then the playground's own."""
    own = [row for row in _rows(QUESTIONS) if "id" not in row]
    chosen: list[dict[str, Any]] = []
    count: Counter[str] = Counter()
    for row in _rows(SAMPLE):
        if not row["id"].endswith(_DATED) and count[row["lang"]] < PER_LANGUAGE:
            count[row["lang"]] += 1
            chosen.append(
                {
                    "id": row["id"],
                    "lang": row["lang"],
                    "text": row["instruction"],
                    "english": row["instruction_en"],
                    "answer": row["output"],
                }
            )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [*chosen, *own])


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    QUESTIONS.write_text(questions(), "utf-8")
