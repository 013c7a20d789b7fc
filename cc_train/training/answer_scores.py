"""The scores of answers that are generated during training, by task and language.

A run has no Transform Matrix yet. As for the evaluation's loss, a prompt is connected with the true activations of its
English parallel: the score is what a perfect matrix would reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from cc_train.bootstrap import language_mean
from cc_train.config.evaluation import EvaluationArguments
from cc_train.config.parser import UsageError
from cc_train.data.batches import pad_right
from cc_train.data.chat import ChatEncoder, stop_ids
from cc_train.data.encoding import Example
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.generation import answer_text, greedy, pad_left
from cc_train.evaluation.items import EvaluationRow, choose_rows
from cc_train.evaluation.scores import RowScore, by_task, item_values, score_rows
from cc_train.evaluation.tasks import TASKS
from cc_train.model.activations import anchor_positions, connected_at
from cc_train.two_pass.model import TwoPassModel

SCORE = "score"
"""The mean over tasks of each one's mean over languages, 0 to 1."""


class AnswerScores:
    """Answers a few rows with the model as it is, and scores the answers.

    Args:
        model: the model that is trained.
        examples: the rows to choose from.
        encoder: encoded them.
        options: how many rows are chosen, and how long an answer may be.
        batch_size: rows that are answered at once.
        seed: draws the choice.

    Raises:
        UsageError: no row can be scored.
    """

    def __init__(
        self,
        model: TwoPassModel,
        examples: Sequence[Example],
        encoder: ChatEncoder,
        options: EvaluationArguments,
        batch_size: int,
        seed: int,
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._max_tokens = options.eval_max_tokens
        self._batch_size = batch_size
        self._stops = stop_ids(encoder.tokenizer, model.language_model.generation_config)
        if options.eval_task not in (None, *TASKS):
            raise UsageError(f"--eval-task {options.eval_task}: there are: {', '.join(TASKS)}")
        numbered = ((_scorable(i, example, options.eval_task), i) for i, example in enumerate(examples))
        scorable = {row: i for row, i in numbered if row is not None}
        if not scorable:
            raise UsageError(
                f"--eval-generate: no row of --eval-data has a task that can be scored ({', '.join(TASKS)}); "
                "--eval-task TASK scores the others as one"
            )
        by_language: dict[str, list[EvaluationRow]] = {}
        for row in scorable:
            by_language.setdefault(row.lang, []).append(row)
        # One seed draws the same items in each language that has the same.
        chosen = [choose_rows(rows, limit=options.eval_generate, seed=seed) for rows in by_language.values()]
        self._rows = {row: examples[scorable[row]] for rows in chosen for row in rows}
        self.by_task: dict[str, dict[str, float]] = {}
        """The last scores, by task and language."""

    def measure(
        self,
        part: tuple[int, int] = (0, 1),
        gather: Callable[[list[Answer]], list[Answer]] = list,
    ) -> dict[str, float]:
        """Answer and score: ``eval_score``, and each task's score, over its languages and in each.

        Args:
            part: the number of this process, and how many processes share the rows.
            gather: brings the answers of all processes together.
        """
        rows = sorted(self._rows, key=lambda row: -len(self._rows[row].prompt))[part[0] :: part[1]]
        answers: list[Answer] = []
        with torch.no_grad():
            for start in range(0, len(rows), self._batch_size):
                answers += self._answers(rows[start : start + self._batch_size])
        scores = score_rows(self._rows, {answer.key: answer for answer in gather(answers)})
        self.by_task = {task: _by_language(found) for task, found in by_task(scores).items()}
        means = {task: sum(found.values()) / len(found) for task, found in self.by_task.items()}
        return {
            f"eval_{SCORE}": sum(means.values()) / len(means),
            **{f"eval_{task}": mean for task, mean in means.items()},
            **{f"eval_{task}_{lang}": mean for task, found in self.by_task.items() for lang, mean in found.items()},
        }

    def _answers(self, rows: Sequence[EvaluationRow]) -> list[Answer]:
        model, examples = self._model, [self._rows[row] for row in rows]
        device = next(model.parameters()).device
        ids, mask = pad_left([example.prompt for example in examples], self._encoder.pad_id, device)
        first = None
        if model.decision is not None and any(example.connected for example in examples):
            first = self._connected(examples, ids, mask)
        generated = greedy(model.language_model, ids, mask, self._stops, self._max_tokens, first)
        texts = [answer_text(self._encoder.tokenizer, tokens, self._stops) for tokens in generated]
        return [
            Answer(row.key, row.digest, text, finish, len(example.prompt), len(tokens), None)
            for row, example, tokens, (text, finish) in zip(rows, examples, generated, texts, strict=True)
        ]

    def _connected(self, examples: Sequence[Example], ids: Tensor, mask: Tensor) -> AbstractContextManager[Any]:
        """The context in which the prompts' pass is connected with their English activations."""
        rows = torch.tensor([i for i, example in enumerate(examples) if example.connected], device=ids.device)
        english = pad_right([example.english for example in examples if example.connected], self._encoder.pad_id)
        activations = self._model.english_activations(*(part.to(ids.device) for part in english))
        anchors = anchor_positions(mask, self._model.anchor_offset)
        chosen = self._model.choose(ids[rows, anchors[rows]], activations)
        vector = chosen.new_zeros(len(ids), chosen.shape[1]).index_put((rows,), chosen)
        return connected_at(self._model.language_model, anchors, vector)


def _scorable(index: int, example: Example, otherwise: str | None) -> EvaluationRow | None:
    """The row as an evaluation has it; None if it has no task."""
    row = example.row
    task = row.task if row.task in TASKS else otherwise
    if task is None or not row.output:
        return None
    return EvaluationRow(
        f"{task}/{row.lang}/{index}", task, row.lang, row.instruction, row.instruction_en, (row.output,)
    )


def _by_language(scores: Sequence[RowScore]) -> dict[str, float]:
    values = [score.value for score in scores]
    return {
        lang: language_mean(item_values(scores, values, [lang])) for lang in sorted({score.lang for score in scores})
    }
