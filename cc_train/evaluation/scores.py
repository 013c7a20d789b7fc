"""From answers to figures: every row's measures, and their means by task and language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cc_core.names import ENGLISH
from cc_train.bootstrap import Interval, interval, language_mean, resampled_means
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.evaluation.measures.language import score_language
from cc_train.evaluation.tasks import TASKS

ROWS_FILE = "rows.jsonl"

ALL = "all"
OTHERS = "all but en"


@dataclass(frozen=True, slots=True)
class RowScore:
    """One row's measures, each 0 to 1.

    Args:
        prompt: digest of the prompt: it tells whether two systems' rows are the same.
        item: what parallel rows share.
        measures: the task's; ``empty``, ``cut`` (the answer has as many tokens as were allowed) and ``refused``
            (there is no answer); and those of `cc_train.evaluation.measures.language` that the answer tells.
    """

    key: str
    task: str
    lang: str
    prompt: str
    item: str
    measures: dict[str, float]

    @property
    def value(self) -> float:
        """The task's metric."""
        return self.measures[TASKS[self.task].metric]


@dataclass(frozen=True, slots=True)
class Cell:
    """A task in one language, or in several: the mean of its languages.

    Args:
        rows: how many.
        judged: the mean of the task's metric, with its interval.
        measures: means of all measures, each over the rows that have it; without those that none has.
    """

    rows: int
    judged: Interval
    measures: dict[str, float]


def score_rows(rows: Iterable[EvaluationRow], answers: Mapping[str, Answer]) -> list[RowScore]:
    """The measures of every row; a row without an answer counts as wrong."""
    scored = []
    for row in rows:
        answer = answers.get(row.key)
        text = answer.text if answer else ""
        measures = TASKS[row.task].score(text, row.references, row.lang) | {
            "empty": float(not text.strip()),
            "cut": float(answer is not None and answer.finish_reason == "length"),
            "refused": float(answer is None),
        }
        measures |= score_language(text, row.lang)
        scored.append(RowScore(row.key, row.task, row.lang, row.digest, row.item, measures))
    return scored


def by_task(scores: Iterable[RowScore]) -> dict[str, list[RowScore]]:
    """The rows of each task, in the order of `TASKS`."""
    groups: dict[str, list[RowScore]] = {}
    for score in scores:
        groups.setdefault(score.task, []).append(score)
    return {task: groups[task] for task in TASKS if task in groups}


def scopes(scores: Sequence[RowScore]) -> dict[str, list[str]]:
    """The languages that one task's rows are averaged over, by name: all, all but English, and each."""
    languages = sorted({score.lang for score in scores})
    others = [language for language in languages if language != ENGLISH]
    found = {ALL: languages}
    if others and others != languages:
        found[OTHERS] = others
    return found | {language: [language] for language in languages}


def item_values(scores: Iterable[RowScore], values: Iterable[float], languages: Sequence[str]) -> np.ndarray:
    """``values``, one for each of ``scores``, as ``[items, languages]``; NaN where an item lacks a language.

    Rows of one language that share an item (two questions with one English text) stay apart.
    """
    column = {language: index for index, language in enumerate(languages)}
    seen: dict[tuple[str, str], int] = {}
    cells: dict[tuple[str, int], dict[int, float]] = {}
    for score, value in zip(scores, values, strict=True):
        if score.lang in column:
            repeat = seen.get((score.item, score.lang), 0)
            seen[score.item, score.lang] = repeat + 1
            cells.setdefault((score.item, repeat), {})[column[score.lang]] = value
    table = np.full((len(cells), len(languages)), np.nan)
    for index, row in enumerate(cells.values()):
        for place, value in row.items():
            table[index, place] = value
    return table


def cells(scores: Sequence[RowScore], seed: int = 0) -> dict[str, Cell]:
    """The figures of one task, by scope."""
    found = {}
    for name, languages in scopes(scores).items():
        values = item_values(scores, (s.value for s in scores), languages)
        judged = interval(language_mean(values), resampled_means(values, seed=seed))
        measures: dict[str, float] = {}
        for measure in dict.fromkeys(measure for score in scores for measure in score.measures):
            there = [score for score in scores if score.lang in languages and measure in score.measures]
            if there:
                spoken = sorted({score.lang for score in there})
                measures[measure] = language_mean(item_values(there, (s.measures[measure] for s in there), spoken))
        found[name] = Cell(int((~np.isnan(values)).sum()), judged, measures)
    return found


def save_scores(directory: Path, scores: Iterable[RowScore]) -> None:
    """Write every row's measures, for ``cc-train compare``."""
    text = "".join(json.dumps(asdict(score), ensure_ascii=False) + "\n" for score in scores)
    (directory / ROWS_FILE).write_text(text, "utf-8")


def load_scores(directory: Path) -> dict[str, RowScore]:
    """What `save_scores` wrote, by key; raises `EvaluationError` if it is missing or damaged."""
    path = directory / ROWS_FILE
    try:
        scores = [RowScore(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
        known = {score.key: score for score in scores if score.value is not None}
    except OSError as error:
        raise EvaluationError(
            f"{path}: cannot be read ({error.strerror}); run cc-train eval to its end first"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: holds something that is not a row's measures ({error})") from error
    if not known:
        raise EvaluationError(f"{path}: no rows")
    return known
