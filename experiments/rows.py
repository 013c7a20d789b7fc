"""The rows that the experiments train and score. Every system gets the same ones."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from pathlib import Path

from cc_core.names import ENGLISH
from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example, encode_rows
from cc_train.data.reading import read_rows

TASKS = ("mgsm", "mkqa")
"""Tasks with short answers, so that a step takes seconds: six tokens in MKQA, three in MGSM."""
MAX_LENGTH = 160
"""Tokens of prompt and answer. Longer rows are left out, not cut."""


def select(data: Path, split: str, limit: int | None = None, *, task: str = "mkqa", english: bool = True) -> list[str]:
    """Lines of ``data/split.jsonl.gz`` for one task, at most ``limit`` a language; the languages take turns."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    with gzip.open(data / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["task"] in TASKS:
                groups[row["task"], row["lang"]].append(line)
    generator = random.Random(0)
    for name in sorted(groups):
        generator.shuffle(groups[name])
    wanted = [groups[name] for name in sorted(groups) if name[0] == task and (english or name[1] != ENGLISH)]
    turns = range(max(map(len, wanted)) if limit is None else limit)
    return [lines[turn] for turn in turns for lines in wanted if turn < len(lines)]


def with_english(lines: list[str]) -> list[str]:
    """Put the English prompt before each row's own, as plain text: the most that English can add."""
    out = []
    for line in lines:
        row = json.loads(line)
        if row["lang"] != ENGLISH:
            row["instruction"] = f"{row['instruction_en']}\n{row['instruction']}"
        out.append(json.dumps(row, ensure_ascii=False) + "\n")
    return out


def accepted(path: Path) -> dict[str, list[str]]:
    """The answers accepted for each row of a file, by its id."""
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return {row.get("id", ""): row.get("answers") or [row["output"]] for row in rows}


def write(lines: list[str], path: Path) -> Path:
    """Write rows as JSONL, as ``cc-train run --data`` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), "utf-8")
    return path


def load(path: Path, encoder: ChatEncoder, *, english: bool = False) -> list[Example]:
    """Encode a file's rows, without those over `MAX_LENGTH`; English rows only if ``english``."""
    rows, _ = read_rows([str(path)])
    examples, _ = encode_rows(rows, encoder, 1024)
    return [
        e
        for e in examples
        if len(e.prompt) + len(e.answer) <= MAX_LENGTH and len(e.english) <= MAX_LENGTH and (english or e.row.connected)
    ]
