"""Choose the packaged sample from a full set of MKQA and MGSM rows.

    python -m tools.make_sample ROWS.jsonl.gz SAMPLE.jsonl

chooses eighteen short rows for each of sixteen languages, the same ones every time. Languages take turns, and each
begins with its shortest row: the first n rows are a quick and balanced training set, too.
"""

from __future__ import annotations

import gzip
import json
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from string import ascii_letters

PER_LANGUAGE = 18
MGSM_BESIDE_MKQA = 4  # of them, where a language has both
POOL = {"mkqa": 120, "mgsm": 40}  # the shortest items of each task, by their English prompts
TRUNCATED = 0.6  # a question this much shorter than its language's habit has lost its end
LATIN = frozenset(("de", "en", "pt", "tr", "vi"))
QUOTED = 4  # more ASCII letters than this in another script quote an English title, which says little about a language
FIELDS = ("id", "task", "lang", "instruction", "instruction_en", "output")

Row = dict[str, str]
Rows = dict[tuple[str, str], dict[str, Row]]  # by task and language, then by item


def read(path: Path) -> Rows:
    """The rows of both tasks."""
    rows: Rows = defaultdict(dict)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["task"] in POOL:
                rows[row["task"], row["lang"]][row["id"].rsplit("-", 1)[1]] = {k: row[k].strip() for k in FIELDS}
    return rows


def usable(rows: Rows, task: str) -> list[str]:
    """The shortest items of ``task`` whose every translation is whole and, in MKQA, answered in words."""
    groups = {lang: group for (t, lang), group in rows.items() if t == task}
    items = set.intersection(*(set(group) for group in groups.values()))
    for lang, group in groups.items():
        ratio = {i: len(group[i]["instruction"]) / len(group[i]["instruction_en"]) for i in items}
        usual = statistics.median(ratio.values())
        items = {i for i in items if ratio[i] >= TRUNCATED * usual}
        if task == "mkqa":
            items = {i for i in items if not any(c.isdigit() for c in group[i]["output"])}
            items = {i for i in items if group[i]["output"] not in ("yes", "no")}
        if task == "mkqa" and lang not in LATIN:
            items = {i for i in items if sum(c in ascii_letters for c in group[i]["instruction"]) <= QUOTED}
    some = next(iter(groups.values()))
    return sorted(items, key=lambda i: (len(some[i]["instruction_en"]), int(i)))[: POOL[task]]


def sample(rows: Rows) -> list[Row]:
    """The chosen rows, in the order described above."""
    pools = {task: usable(rows, task) for task in POOL}
    turns: list[tuple[int, str, Row]] = []
    for lang in sorted({lang for _, lang in rows}):
        tasks = [task for task in ("mkqa", "mgsm") if (task, lang) in rows]
        share = {"mkqa": PER_LANGUAGE - MGSM_BESIDE_MKQA, "mgsm": MGSM_BESIDE_MKQA}
        chosen: list[Row] = []
        for task in tasks:
            count = share[task] if len(tasks) == 2 else PER_LANGUAGE
            chosen += [rows[task, lang][i] for i in random.Random(lang).sample(pools[task], count)]
        chosen.sort(key=lambda row: len(row["instruction"].encode()) + len(row["instruction_en"]))
        turns += [(turn, lang, row) for turn, row in enumerate(chosen)]
    return [row for _, _, row in sorted(turns, key=lambda turn: turn[:2])]


def main() -> None:
    """Read the full set, write the sample."""
    source, target = map(Path, sys.argv[1:])
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in sample(read(source))]
    target.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
