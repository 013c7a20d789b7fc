"""The benchmarks: how an answer to each is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cc_train.evaluation.measures.choices import score_choice
from cc_train.evaluation.measures.numerals import score_number
from cc_train.evaluation.measures.questions import score_question
from cc_train.evaluation.measures.summaries import score_summary

Score = Callable[[str, Sequence[str], str], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark.

    Args:
        title: its usual name.
        metric: the measure that the task is judged by, one of those that ``score`` returns.
        score: gives the measures of an answer, each 0 to 1, from the answer, the references and the language.
        options: the labels of a multiple choice, a character each; empty for other tasks.
    """

    title: str
    metric: str
    score: Score
    options: str = ""


def _choice(title: str, labels: str) -> Task:
    return Task(title, "accuracy", lambda answer, references, _: score_choice(answer, references, labels), labels)


TASKS: dict[str, Task] = {
    "xnli": _choice("XNLI", "123"),
    "xstorycloze": _choice("XStoryCloze", "12"),
    "mmmlu": _choice("MMMLU", "ABCD"),
    "mkqa": Task("MKQA", "accuracy", score_question),
    "xquad": Task("XQuAD", "accuracy", score_question),
    "xlsum": Task("XL-Sum", "rougeL", score_summary),
    "mgsm": Task("MGSM", "accuracy", lambda answer, references, _: score_number(answer, references)),
}
