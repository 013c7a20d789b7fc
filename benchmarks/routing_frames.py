"""Questions in what surrounds them in real prompts: each kind of frame, in each language, and in English as control.

The questions come from a data directory, and the frames from `benchmarks/data/routing_frames.yaml`. Tuning and report
share neither questions nor frames.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import yaml

from benchmarks.routing_texts import Half, Sample, prompt_rows
from cc_core.names import ENGLISH

FRAMES: Final = Path(__file__).parent / "data/routing_frames.yaml"
QUESTIONS: Final = 24  # of each language, for each frame
KINDS: Final = ("template", "frame", "tail", "head", "markup", "passage")

_OPTION = re.compile(r"^\([A-D1-9]\)|[:：]$")
_LABEL = re.compile(r"^[^\s:：]{1,14}\s?[:：]\s*")
# Which line of a prompt is its question, and where tasks are taken first. The last three have no questions, but are
# the only ones of some languages.
_LINES: Final[dict[str, Callable[[list[str]], str]]] = {
    "mkqa": lambda lines: lines[1],
    "mgsm": lambda lines: lines[0],
    "xquad": lambda lines: _LABEL.sub("", lines[2]),
    "mmmlu": lambda lines: lines[1],
    "xnli": lambda lines: _LABEL.sub("", lines[0]),
    "xstorycloze": lambda lines: re.split(r"(?<=[.।!?])", lines[0])[0],
    "xlsum": lambda lines: lines[1],
}


def framed_samples(data: Path, half: Half) -> list[Sample]:
    """All kinds of a half, the same in every run. The controls are those whose group ends in "English"."""
    kinds = {name: halves[half] for name, halves in yaml.safe_load(FRAMES.read_text("utf-8")).items()}
    questions = questions_of(data, half)
    found = [Sample("bare", question, language) for language, texts in questions.items() for question in texts]
    for kind in KINDS:
        found += _framed(kind, kinds[kind], kinds["passages"], questions)
    found += [
        Sample(f"marks: {name}", marked, language)
        for name, mark in MARKS.items()
        for language, texts in questions.items()
        for text in texts
        if (marked := mark(text)) != text
    ]
    found += [
        Sample("colon", f"{instruction}{'：' if language in ('ja', 'zh') else ':'} {tail}".replace("{{", "{"), language)
        for language, instructions in kinds["colon"].items()
        for instruction in instructions
        for tail in kinds["tails"]
    ]
    found += [Sample("Han without kana", text, language) for language, texts in kinds["han"].items() for text in texts]
    return [Sample(f"{s.group}, English", *s[1:]) if s.language == ENGLISH else s for s in found]


def questions_of(data: Path, half: Half) -> dict[str, list[str]]:
    """`QUESTIONS` questions of each language."""
    ordered: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in prompt_rows(data, half):
        for language, prompt in ((row["lang"], row["instruction"]), (ENGLISH, row["instruction_en"])):
            if question := _question(row["task"], prompt):
                ordered[language][row["task"]].append(question)
    chosen = {}
    for language, tasks in sorted(ordered.items()):
        by_task = []
        for task in _LINES:
            texts = sorted(set(tasks.get(task, ())))
            random.Random(0).shuffle(texts)
            by_task.append(texts)
        asked = [text for texts in by_task[:4] for text in texts[: QUESTIONS // 2]]
        chosen[language] = [*asked, *(text for texts in by_task[4:] for text in texts)][:QUESTIONS]
    return chosen


def _question(task: str, prompt: str) -> str | None:
    lines = [line.strip() for line in prompt.split("\n") if line.strip()]
    try:
        question = _LINES[task](lines).strip()
    except (KeyError, IndexError):
        return None
    return question if 12 <= len(question) <= 300 and not _OPTION.search(question) else None


def _framed(kind: str, frames: list[str], passages: list[str], questions: dict[str, list[str]]) -> Iterator[Sample]:
    for frame in frames:
        for language, texts in questions.items():
            for index, text in enumerate(texts):
                quoted = json.dumps(text, ensure_ascii=False)[1:-1] if frame.startswith("{{") else text
                yield Sample(kind, frame.format(quoted, passage=passages[index % len(passages)]), language)


def _between_letters(mark: str, every: int) -> Callable[[str], str]:
    def put(text: str) -> str:
        return "".join(
            c + mark if i % every == 0 and c.isalpha() and text[i + 1 : i + 2].isalpha() else c
            for i, c in enumerate(text)
        )

    return put


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and text.isascii() else c for c in text)


def _after(letters: str, mark: str, every: int) -> Callable[[str], str]:
    pattern = re.compile(f"[{letters}]")

    def put(text: str) -> str:
        return "".join(c + mark if i % every == 0 and pattern.match(c) else c for i, c in enumerate(text))

    return put


#: What stands between or on letters, and is no letter of the word.
MARKS: Final[dict[str, Callable[[str], str]]] = {
    "zero-width space": _between_letters("\u200b", 3),
    "soft hyphen": _between_letters("\u00ad", 4),
    "word joiner": _between_letters("\u2060", 2),
    "vowel signs": _after("\u0628-\u064a", "\u064e", 1),
    "stress": _after("аеиоуыэюя", "\u0301", 3),
    "full-width": _full_width,
    "capitals": lambda text: text.upper() if text.upper() != text and "ß" not in text else text,
    "lower case": str.lower,
}
