"""Fitting the Transform Matrices of a trained model, at the end of a run and in ``cc-train fit``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from cc_core.connection import Connection
from cc_core.names import FIT_FILE
from cc_train.config.fit import FitSettings
from cc_train.data.encoding import Example
from cc_train.fit.evidence import evidence, notes
from cc_train.fit.pairs import capture_pairs, pair_counts, split_pairs
from cc_train.fit.scores import brief, score_transforms
from cc_train.fit.transforms import fit_transforms
from cc_train.terminal.progress import progress
from cc_train.two_pass.model import TwoPassModel


@dataclass(frozen=True)
class Fitted:
    """A fitted connection.

    Args:
        connection: what is served.
        languages: the pairs' languages, ISO 639-1.
        facts: how it was fitted, for ``cc_fit.json``; ``scores`` comes from `cc_train.fit.scores.score_transforms`.
    """

    connection: Connection
    languages: list[str]
    facts: dict[str, Any]

    def details(self) -> dict[str, Any]:
        """The facts in short, for ``config.json``."""
        pairs = sum(self.facts["fitted_pairs"].values())
        chosen: dict[str, Any] = {
            name: self.facts[name] for name in ("ridge", "shrinkage", "rank") if name in self.facts
        }
        return {"pairs": pairs, **chosen, **brief(self.facts["scores"])}

    def evidence(self, held_out_of: str) -> dict[str, Any] | None:
        """What the connection is worth, for ``config.json``; None if no pair had an answer.

        Args:
            held_out_of: what had not seen the scored pairs, ``training`` or ``fit``.
        """
        return evidence(self.facts["scores"], held_out_of)

    def notes(self, found: dict[str, Any] | None) -> list[str]:
        """What the user should know of the scores and their evidence, in sentences."""
        return notes(self.facts["scores"], found, self.languages)

    def write_facts(self, directory: Path) -> None:
        """Write ``cc_fit.json``."""
        (directory / FIT_FILE).write_text(json.dumps(self.facts, indent=2) + "\n", "utf-8")


def fit_connection(
    model: PreTrainedModel,
    decision: Tensor,
    examples: Sequence[Example],
    pad_id: int,
    settings: FitSettings,
    *,
    directory: Path,
    anchor_offset: int,
    batch_size: int,
    seed: int,
    scored: Sequence[Example] | None = None,
    projection: Tensor | None = None,
    shows_progress: bool = True,
) -> Fitted:
    """Fit on a model as it is served, and score on pairs that the fit has not seen.

    Args:
        model: in evaluation mode.
        decision: the trained ``W`` [L, H].
        examples: pairs; at most ``settings.max_pairs`` of them are fitted.
        pad_id: fills batches.
        settings: how to fit.
        directory: holds activations meanwhile, 8 L H bytes a pair.
        anchor_offset: the anchor's position, counted from a prompt's end.
        batch_size: pairs in one forward pass.
        seed: draws the pairs.
        scored: pairs to score on; None holds some of ``examples`` out.
        projection: ``P`` [H, H], if English activations were projected in training; the matrices take it in.
        shows_progress: whether bars are drawn.

    Raises:
        FitError: nothing to fit, no solution, or activations that are NaN or infinite.
    """
    share = settings.held_out if scored is None else 0.0
    fitted, held_out = split_pairs(examples, settings.max_pairs, share, seed)
    scored = held_out if scored is None else [pair for pair in scored if pair.row.connected]

    def batches(pairs: Sequence[Example]) -> Any:
        return capture_pairs(
            model, pairs, pad_id, batch_size=batch_size, anchor_offset=anchor_offset, projection=projection
        )

    with TemporaryDirectory(prefix=".activations-", dir=directory) as scratch:
        with progress("fitting", len(fitted), shown=shows_progress) as advance:
            transforms, facts = fit_transforms(batches(fitted), settings, Path(scratch), advance)
        connection = Connection(decision, transforms, anchor_offset=anchor_offset)
    with progress("scoring", len(scored), shown=shows_progress) as advance:
        scores = score_transforms(TwoPassModel(model, None).eval(), connection, batches(scored), pad_id, advance)
    facts = {"fitted_pairs": pair_counts(fitted), "held_out_pairs": pair_counts(scored), **facts, "scores": scores}
    return Fitted(connection, sorted({e.row.lang for e in examples if e.row.connected}), facts)
