"""Whether a model knows more in English than it says in other languages, before anything is trained.

Three prompts are compared on the same rows: the prompt alone; with its English parallel written above it, which is what
a connection could bring at best; and the English prompt itself. If neither of the others is better than the first,
there is little that CC-Tuning or the alignment could carry over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from cc_core.names import ENGLISH
from cc_core.terminal.text import counted
from cc_train.bootstrap import Interval, interval, language_mean, resampled_means
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.headroom_rows import check_languages, comparable
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.evaluation.likelihood import encoded, rank_options, reference_losses
from cc_train.evaluation.local import LocalCheckpoint
from cc_train.evaluation.scores import RowScore, item_values, score_rows
from cc_train.evaluation.tasks import TASKS
from cc_train.fit.pairs import capture_pairs
from cc_train.model.activations import family_in

#: If all intervals of gains end below this, in score and in nats per token, there is hardly anything to gain. A wide
#: interval about 0 reaches further, and so does not show that there is nothing.
HARDLY: Final = 0.05
#: Rows that all gain the same have an interval without width, however few they are. This many make it unlikely that
#: one row in ten would gain something else.
FEWEST_ALIKE: Final = 30


@dataclass(frozen=True, slots=True)
class Headroom:
    """What there is to gain in one language.

    Args:
        rows: how many were asked.
        loss, loss_beside: of the answer in nats per token, with the prompt alone and with English above it.
        loss_gain: the first minus the second.
        score, score_beside: of the task, 0 to 1.
        score_gain: the second minus the first.
        english: the score of the same questions in English; None if the data has none.
        english_lead: English minus the prompt alone.
        distance: by layer, the mean squared distance of the prompt's activations to those of the English prompt; 1 is
            as far as English prompts are from their mean. None where all rows have one English prompt.
        distance_mean: over the layers.
        loss_english: of the English rows' own answers, which have other tokens.
        loss_english_gain: the loss with the prompt alone minus ``loss_english``.
        rows_english: how many rows have their English one.
        choices: whether all rows are multiple choices. The loss of a label then depends more on the form of the answer
            than on what is right, so it decides nothing.
    """

    rows: int
    loss: float
    loss_beside: float
    loss_gain: Interval
    score: float
    score_beside: float
    score_gain: Interval
    english: float | None
    english_lead: Interval | None
    distance: list[float] | None
    distance_mean: Interval | None = None
    loss_english: float | None = None
    loss_english_gain: Interval | None = None
    rows_english: int = 0
    choices: bool = False

    @property
    def expectation(self) -> str:
        """What to expect, in a sentence."""
        helps = [self.score_gain] if self.choices else [self.score_gain, self.loss_gain]
        gains = [*helps, self.english_lead]
        known = [gain for gain in gains if gain is not None]
        figures = [end for gain in known for end in (gain.mean, gain.low, gain.high) if end is not None]
        if not np.isfinite(figures).all():
            return "a loss or score is not a number, so nothing can be told: is the model damaged?"
        if all(gain.low is None for gain in known):
            return f"{counted(self.rows, 'row is', 'rows are')} too few to tell; give more"
        if all(self._rules_out(gain) for gain in gains):
            return (
                f"no headroom was shown, and gains above {HARDLY} are unlikely: do not expect the connection or the "
                "alignment to pay"
            )
        ahead = _shown(self.english_lead)
        helped = any(map(_shown, helps))
        if ahead and helped:
            return "there is something to gain: English is ahead, and English words beside the prompt are of use"
        if helped:
            return "there may be something to gain: English words beside the prompt are of use"
        if ahead:
            return (
                "English is ahead, but the model does not use English words beside the prompt: gains depend on training"
            )
        rows = counted(self.rows, "row does", "rows do")
        return f"{rows} not tell: no gain was shown, and none above {HARDLY} ruled out; give more"

    def _rules_out(self, gain: Interval | None) -> bool:
        """Whether ``gain`` is surely next to nothing."""
        if gain is None or gain.high is None or gain.high > HARDLY:
            return False
        return gain.low != gain.high or self.rows >= FEWEST_ALIKE


def _shown(gain: Interval | None) -> bool:
    return gain is not None and gain.low is not None and gain.low > 0


def measure_headroom(
    model: LocalCheckpoint, rows: Sequence[EvaluationRow], on_row: Callable[[], object] = lambda: None
) -> dict[str, Headroom]:
    """Ask ``model`` all prompts without a connection; the headroom by language.

    Answers are generated greedily. In a multiple choice, the answer is the option that the model finds likeliest.

    Args:
        model: with the connection ``off``.
        rows: English ones, and others with their English parallel.
        on_row: called for each answer, for progress.

    Raises:
        EvaluationError: the rows do not compare languages with English, none fits the model's context, or a loss is
            not finite.
        UnsupportedArchitectureError: the model's activations cannot be read.
    """
    check_languages(rows)
    family_in(model.model)  # fail now if its activations cannot be read after all answers
    rows = comparable(rows)
    alone = [row for row in rows if row.lang != ENGLISH]
    beside = [replace(row, key=f"{row.key}/beside", prompt=f"{row.english}\n{row.prompt}") for row in alone]
    english = [row for row in rows if row.lang == ENGLISH]
    answers: dict[str, Answer] = {}
    refused: set[str] = set()

    def note(answer: Answer) -> None:
        answers[answer.key] = answer
        on_row()

    def refuse(row: EvaluationRow, _reason: str) -> None:
        refused.add(row.key)

    asked = [*alone, *beside, *english]
    model.answer([row for row in asked if not TASKS[row.task].options], note, refuse)
    rank_options(model, [row for row in asked if TASKS[row.task].options], note, refuse)
    kept = [i for i, pair in enumerate(zip(alone, beside, strict=True)) if not refused & {row.key for row in pair}]
    alone, beside = [alone[i] for i in kept], [beside[i] for i in kept]
    if not alone:
        raise EvaluationError("no prompt fits the model's context; give shorter rows or fewer --max-tokens")
    scored, scored_beside = score_rows(alone, answers), score_rows(beside, answers)
    english = [row for row in english if row.key not in refused]
    in_english = {(row.task, row.prompt): i for i, row in enumerate(english)}
    scores_english = np.array([score.value for score in score_rows(english, answers)])
    losses, losses_beside, losses_english = (reference_losses(model, each) for each in (alone, beside, english))
    distances = _distances(model, alone)
    found = {}
    for language in sorted({row.lang for row in alone}):
        mine = [i for i, row in enumerate(alone) if row.lang == language]
        own, with_english = [scored[i] for i in mine], [scored_beside[i] for i in mine]
        values, values_beside = (np.array([s.value for s in scores]) for scores in (own, with_english))
        both = [i for i in mine if (alone[i].task, alone[i].english) in in_english]
        parallel = [in_english[alone[i].task, alone[i].english] for i in both]
        paired = [scored[i] for i in both]
        found[language] = Headroom(
            rows=len(mine),
            loss=float(losses[mine].mean()),
            loss_beside=float(losses_beside[mine].mean()),
            loss_gain=_interval(own, losses[mine] - losses_beside[mine]),
            score=float(values.mean()),
            score_beside=float(values_beside.mean()),
            score_gain=_interval(own, values_beside - values),
            english=float(scores_english[parallel].mean()) if both else None,
            english_lead=_interval(paired, scores_english[parallel] - [s.value for s in paired]) if both else None,
            distance=None if distances is None else distances[mine].mean(axis=0).tolist(),
            distance_mean=None if distances is None else _interval(own, distances[mine].mean(axis=1)),
            loss_english=float(losses_english[parallel].mean()) if both else None,
            loss_english_gain=_interval(paired, losses[both] - losses_english[parallel]) if both else None,
            rows_english=len(both),
            choices=all(TASKS[alone[i].task].options for i in mine),
        )
    return found


def _interval(scores: Sequence[RowScore], gains: np.ndarray) -> Interval:
    """The mean gain of rows of one language, with its interval over items."""
    values = item_values(scores, gains.tolist(), [scores[0].lang])
    return interval(language_mean(values), resampled_means(values))


def _distances(model: LocalCheckpoint, rows: Sequence[EvaluationRow]) -> np.ndarray | None:
    """By row and layer, the distance of ``rows``' activations to those of their English parallels.

    None where there is one English prompt only: it is its own mean, and so no measure.
    """
    if len({row.english for row in rows}) < 2:
        return None
    apart: dict[int, torch.Tensor] = {}
    english: dict[str, torch.Tensor] = {}
    for batch in capture_pairs(model.model, encoded(model, rows), model.encoder.pad_id, batch_size=model.batch_size):
        squares = (batch.source - batch.target).double().square().mean(dim=-1).cpu()
        targets = batch.target.double().cpu()
        for pair, square, target in zip(batch.pairs, squares, targets, strict=True):
            apart[pair.row.line] = square
            english[pair.row.instruction_en] = target
    every = torch.stack(list(english.values()))
    spread = (every - every.mean(dim=0)).square().mean(dim=(0, 2)).clamp_min(1e-12)
    return (torch.stack([apart[number] for number in range(len(rows))]) / spread).numpy()
