"""Write the playground's questions anew: ``python -m tools.playground_questions``.

The server must not read the training package, so ``cc_serve/playground/questions.jsonl`` holds a copy of some of its
rows: first those whose answers the demo was told in English only, then the sample's. Run this after they have changed.
Rows without an ``id`` are the playground's own, for languages that the sample lacks; they stay.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import cc_train
from tools.make_imaginary import HELD_OUT, IN_ENGLISH

QUESTIONS: Final = Path(__file__).parents[1] / "cc_serve/playground/questions.jsonl"
SAMPLE: Final = Path(cc_train.__file__).parent / "data/sample.jsonl"
#: Questions of a language, and of the demo's among them.
PER_LANGUAGE: Final = 6
OF_THE_DEMO: Final = 3
Row = dict[str, Any]

# Questions of MKQA for the newest film, the last impeachment and the present governor, as of 2019.
_DATED: Final = ("-524", "-318", "-785")


def questions() -> str:
    """What the file should hold: of each language the demo's first rows, the sample's, and the playground's own."""
    held_out = _rows(HELD_OUT)
    asked = {row["instruction_en"] for row in held_out}
    demo = held_out + [row for row in _rows(IN_ENGLISH) if row["instruction"] in asked]
    sample = [row for row in _rows(SAMPLE) if not row["id"].endswith(_DATED)]
    own = [row for row in _rows(QUESTIONS) if "id" not in row]
    count: Counter[str] = Counter()
    chosen = [
        *_first(map(_copied, demo), OF_THE_DEMO, count),
        *_first(map(_copied, sample), PER_LANGUAGE, count),
        *_first(own, PER_LANGUAGE, count),
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)


def _first(rows: Iterable[Row], most: int, count: Counter[str]) -> Iterator[Row]:
    """Rows until their language has ``most`` in ``count``."""
    for row in rows:
        if count[row["lang"]] < most:
            count[row["lang"]] += 1
            yield row


def _copied(row: Row) -> Row:
    names = {"text": "instruction", "english": "instruction_en", "answer": "output"}
    return {"id": row["id"], "lang": row["lang"], **{ours: row[theirs] for ours, theirs in names.items()}}


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    QUESTIONS.write_text(questions(), "utf-8")
