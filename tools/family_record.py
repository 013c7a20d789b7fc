"""What the tests show of each model family, as `tests.support.shown` records it for `tools.family_table`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

RECORD: Final = Path(__file__).parents[1] / "docs" / "results" / "families.json"
#: What the tests' markers say, and what the table calls it.
TRAINED: Final = {"full": "full", "lora": "LoRA", "connection": "connection alone"}
SERVED: Final = {"served": "served", "adapter": "with LoRA", "ranks": "two ranks", "int8": "int8"}

#: By column, family and test: requests and tokens that were equal to the reference's.
Shown = dict[str, dict[str, dict[str, list[int]]]]


def read_record(path: Path = RECORD) -> Shown:
    """The record at ``path``; empty if there is none."""
    shown: Shown = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return shown
