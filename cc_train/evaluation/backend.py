"""What answers the prompts of an evaluation: an endpoint, or a checkpoint in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.items import EvaluationRow

OnAnswer = Callable[[Answer], None]
"""Called with each answer as it comes."""
OnRefusal = Callable[[EvaluationRow, str], None]
"""Called with each row that cannot be answered, and the reason."""


class Backend(Protocol):
    """An `Endpoint`, or a `LocalCheckpoint`."""

    def system(self) -> dict[str, Any]:
        """What the answers depend on."""

    def answer(self, rows: Iterable[EvaluationRow], on_answer: OnAnswer, on_refusal: OnRefusal) -> None:
        """Answer every row."""
