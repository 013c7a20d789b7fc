"""How likely a model finds answers that it is given: the losses of references, and the likeliest option of a choice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cc_core.names import OFF
from cc_core.terminal.text import counted
from cc_train.data.batches import IGNORED, PairCollator, PairDataset
from cc_train.data.encoding import Example
from cc_train.data.rows import Row
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.backend import OnAnswer, OnRefusal
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.evaluation.local import LocalCheckpoint
from cc_train.evaluation.tasks import TASKS
from cc_train.model.answer_head import AnswerLogits
from cc_train.two_pass.answer_loss import cross_entropy_by_row
from cc_train.two_pass.model import TwoPassModel


def encoded(model: LocalCheckpoint, rows: Sequence[EvaluationRow]) -> list[Example]:
    """``rows`` with their first references as answers, and with the ends of their turns."""
    encoder = model.encoder

    def ids(prompt: str) -> np.ndarray:
        return np.asarray(encoder.encode(encoder.render(prompt)), dtype=np.int32)

    return [
        Example(
            Row(row.lang, row.prompt, row.english, row.references[0], file=row.key, line=number),
            ids(row.prompt),
            np.asarray(encoder.answer(row.references[0]), dtype=np.int32),
            ids(row.english),
        )
        for number, row in enumerate(rows)
    ]


def reference_losses(model: LocalCheckpoint, rows: Sequence[EvaluationRow]) -> np.ndarray:
    """Cross-entropy of each row's first reference, nats per token; raises `EvaluationError` if one is not finite."""
    examples = encoded(model, rows)
    losses = torch.zeros(len(examples))
    for batch, answers, labels in _answers(model, examples):
        losses[batch] = (cross_entropy_by_row(answers, labels) / (labels != IGNORED).sum(dim=1)).cpu()
    _check_finite(examples, losses)
    return losses.numpy()


def rank_options(
    model: LocalCheckpoint, rows: Sequence[EvaluationRow], on_answer: OnAnswer, on_refusal: OnRefusal
) -> None:
    """Answer every row of a choice with the option that the model, without a connection, finds likeliest.

    It tells what a model knows that explains before it names an option.

    Args:
        model: with the connection ``off``.
        rows: of tasks with options.
        on_answer: called with each answer.
        on_refusal: called with each row that does not fit the model's context, and the reason.

    Raises:
        EvaluationError: a likelihood is not finite, or the tokenizer does not tell the options apart.
    """
    fitting = defaultdict(list)
    for row in rows:
        if reason := model.refusal(row):
            on_refusal(row, reason)
        else:
            fitting[row.task].append(row)
    for task, some in fitting.items():
        options = TASKS[task].options
        tokens = [model.encoder.encode(option) for option in options]
        # Options may begin alike: some tokenizers write a space of its own before a character.
        place = next((i for i, ids in enumerate(zip(*tokens, strict=False)) if len(set(ids)) == len(ids)), None)
        if place is None:
            raise EvaluationError(f"the tokenizer does not tell the options {', '.join(options)} of {task} apart")
        examples = [replace(each, answer=np.asarray(tokens[0], dtype=np.int32)) for each in encoded(model, some)]
        for batch, answers, _ in _answers(model, examples):
            logits = answers.logits.view(len(batch), len(tokens[0]), -1)[:, place, [ids[place] for ids in tokens]]
            _check_finite([examples[i] for i in batch], logits.sum(dim=-1))
            for i, best in zip(batch, logits.argmax(dim=-1).tolist(), strict=True):
                row, prompt, answer = some[i], len(examples[i].prompt), len(tokens[best])
                on_answer(Answer(row.key, row.digest, options[best], "stop", prompt, answer, OFF))


@torch.inference_mode()
def _answers(model: LocalCheckpoint, examples: Sequence[Example]) -> Iterator[tuple[list[int], AnswerLogits, Tensor]]:
    """The logits of all answers, in batches of similar lengths: the numbers of the examples, logits and labels."""
    collate = PairCollator(model.encoder.pad_id)
    dataset, passes = PairDataset(examples), TwoPassModel(model.model, None).eval()
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt) + len(examples[i].answer))
    for start in range(0, len(order), model.batch_size):
        batch = order[start : start + model.batch_size]
        inputs = {name: value.to(model.model.device) for name, value in collate([dataset[i] for i in batch]).items()}
        yield (
            batch,
            passes.answer_logits(inputs["input_ids"], inputs["attention_mask"], inputs["labels"]),
            inputs["labels"],
        )


def _check_finite(examples: Sequence[Example], values: Tensor) -> None:
    broken = [example for example, value in zip(examples, values.tolist(), strict=True) if not math.isfinite(value)]
    if broken:
        raise EvaluationError(
            f"the loss of {len(broken)} of {counted(len(examples), 'answer')} is NaN or infinite "
            f"({broken[0].row.file} first); is the model damaged?"
        )
