"""What the two-pass reference on transformers, in float32, makes of the engines' answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check.answers import Answer
from cc_train.model.reference import Reference, Score


def score_all(checkpoint: Path, answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Score every answer. Those that several engines gave alike are scored once."""
    reference = Reference.from_checkpoint(checkpoint)
    if torch.cuda.is_available():
        reference = Reference(reference.model.to("cuda"), reference.connection)  # type: ignore[arg-type]
    known: dict[tuple[Any, ...], Score] = {}
    scores = []
    for answer in answers:
        key = (tuple(answer.prompt), answer.connection, tuple(answer.tokens), answer.layer)
        if key not in known:
            known[key] = reference.score(answer.prompt, answer.connection, answer.tokens, answer.layer)
        scores.append(asdict(known[key]))
    return scores
