"""The rows that are evaluated: read, checked and chosen."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cc_train.data.fields import with_input
from cc_train.data.file_records import file_records
from cc_train.data.language_codes import code_problem, misspelt
from cc_train.data.records import DataError, UnreadableError
from cc_train.evaluation.tasks import TASKS

_SHOWN_PROBLEMS = 5


class EvaluationError(ValueError):
    """The evaluation cannot be done as asked for; the message says what to change."""


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One prompt and the answers accepted for it.

    Args:
        key: the row's name in an evaluation: task, language and the row's id.
        task: one of `cc_train.evaluation.tasks.TASKS`.
        lang: ISO 639-1.
        prompt: the question.
        english: the English parallel of ``prompt``; may be empty.
        references: the right answers.
    """

    key: str
    task: str
    lang: str
    prompt: str
    english: str
    references: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A digest of the prompt: it tells whether an answer was given to this very prompt."""
        return digest(self.prompt)

    @property
    def item(self) -> str:
        """What parallel rows share: a digest of the English prompt; without one, the row's own key."""
        return digest(self.english) if self.english else self.key


def digest(text: str) -> str:
    """Sixteen hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_rows(paths: Sequence[Path], task: str | None = None) -> list[EvaluationRow]:
    """Read the rows of benchmarks, or of training, from files of any format that `file_records` reads.

    A row has ``lang``, ``instruction``, and ``answers`` (a list) or ``output``; ``task``, ``id``, ``instruction_en``
    and ``input`` are optional.

    Args:
        paths: the files.
        task: that rows without a known task are scored as.

    Raises:
        EvaluationError: a file or any row cannot be used: no row is left out silently.
    """
    rows: dict[str, EvaluationRow] = {}
    problems: list[str] = []
    for path in paths:
        try:
            for record in file_records(path):
                try:
                    row = _row(record.fields, task)
                    if row.key in rows:
                        raise ValueError(f"{row.key!r} is there twice; ids must differ within a task and language")
                    rows[row.key] = row
                except ValueError as error:
                    problems.append(f"{path}:{record.number}: {error}")
        except DataError as error:
            raise EvaluationError(str(error)) from error
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = "\n  ".join(problems[:_SHOWN_PROBLEMS]) + (f"\n  and {more} more" if more > 0 else "")
        raise EvaluationError(f"rows that cannot be evaluated:\n  {shown}")
    if not rows:
        raise EvaluationError(f"{', '.join(map(str, paths))}: no rows")
    return list(rows.values())


def choose_rows(
    rows: Sequence[EvaluationRow],
    tasks: Collection[str] = (),
    languages: Collection[str] = (),
    limit: int | None = None,
    seed: int = 0,
) -> list[EvaluationRow]:
    """Choose rows by task and language, and at most ``limit`` items of each task.

    An item is a prompt with its parallels in other languages, so that languages stay comparable.

    Args:
        rows: to choose from.
        tasks, languages: those to keep; all if none is named.
        limit: items of each task; None for all.
        seed: of the choice of items.

    Raises:
        EvaluationError: no row has a task or language that is named.
    """
    for kind, named, there in (
        ("task", tasks, {row.task for row in rows}),
        ("language", languages, {row.lang for row in rows}),
    ):
        unknown = [name for name in named if name not in there]
        if unknown:
            meant = misspelt(unknown[0]) if kind == "language" else None
            raise EvaluationError(
                f"--{kind}s: no row of {kind} {', '.join(unknown)}; the data has: {', '.join(sorted(there))}"
                f"{f'; {meant}' if meant else ''}"
            )
    chosen = [r for r in rows if (not tasks or r.task in tasks) and (not languages or r.lang in languages)]
    if not chosen:
        raise EvaluationError("no row is of both a task and a language that were named")
    if limit is None:
        return chosen
    kept: set[tuple[str, str]] = set()
    for task in dict.fromkeys(row.task for row in chosen):
        items = sorted({row.item for row in chosen if row.task == task})
        kept.update((task, item) for item in random.Random(seed).sample(items, min(limit, len(items))))
    return [row for row in chosen if (row.task, row.item) in kept]


def _row(content: Mapping[str, Any] | UnreadableError, default_task: str | None) -> EvaluationRow:
    if isinstance(content, UnreadableError):
        raise content
    task = content.get("task")
    if not isinstance(task, str) or task not in TASKS:
        if default_task is None:
            raise ValueError(
                f"unknown task {task!r}; there are: {', '.join(TASKS)}; --task-of-rows names one for such rows"
            )
        task = default_task
    language = content.get("lang")
    if not isinstance(language, str):
        raise ValueError(f"field 'lang' is not a string (found {language!r})")
    if problem := code_problem(language):
        raise ValueError(f"field 'lang': {problem}")
    prompt = content.get("instruction")
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("field 'instruction' is missing or empty")
    english = content.get("instruction_en")
    if content.get("input"):
        prompt = with_input(prompt, content["input"])
        english = with_input(english, content["input_en"]) if english and content.get("input_en") else None
    name = str(content.get("id") or digest(prompt))
    return EvaluationRow(
        f"{task}/{language}/{name}",
        task,
        language,
        prompt,
        english if isinstance(english, str) else "",
        _references(content),
    )


def _references(content: Mapping[str, Any]) -> tuple[str, ...]:
    listed = content.get("answers") or [content.get("output")]
    if isinstance(listed, str):  # a cell of a table holds no list
        with suppress(ValueError, RecursionError):
            listed = json.loads(listed)
    if not isinstance(listed, list) or not all(isinstance(a, str) and a.strip() for a in listed):
        raise ValueError("neither 'answers' (a list of texts) nor 'output' (a text) says what is right")
    return tuple(dict.fromkeys(listed))
