"""``cc-train run`` as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cc_train.config.run import configure_run
from cc_train.terminal.notes import Say, silent
from cc_train.training.run import RunResult, run


def train(
    *,
    model: str | Path,
    data: str | Path | Sequence[str | Path] | Mapping[str, float] | Mapping[Path, float],
    output: str | Path,
    say: Say = silent,
    **options: Any,
) -> RunResult:
    """Train a model with the connection, fit it, and write the deployable checkpoint.

    Args:
        model: directory of a Hugging Face causal language model.
        data: parallel rows, as ``--data`` takes them: one source or several, or a weight for each.
        output: directory of the finished checkpoint; appears only when it is complete.
        say: receives what a person should read meanwhile, line by line.
        **options: every other option of ``cc-train run`` by name, such as ``max_steps=100``; dictionaries where a
            recipe has mappings.

    Raises:
        UsageError, DataError, ChatError, OutputError, UnsupportedArchitectureError: the input is wrong.
        TrainingError, FitError: the loss or the activations are NaN or infinite, or too few pairs determine no matrix.
    """
    return run(configure_run({"model": model, "data": data, "output": output, **options}), say)
