"""``cc-train run`` as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cc_train.config import parse_run
from cc_train.run import RunResult, run


def train(
    *,
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    say: Callable[[str], object] = lambda _line: None,
    **options: Any,
) -> RunResult:
    """Train a model with the connection, fit it, and write the deployable checkpoint.

    Args:
        model: directory of a Hugging Face causal language model.
        data: parallel rows, one or several JSONL files, plain or gzipped.
        output: directory of the finished checkpoint; appears only when it is complete.
        say: receives what a person should read meanwhile, line by line.
        **options: every other option of ``cc-train run`` under its name, such as ``max_steps=100``.

    Raises:
        UsageError, DataError, ChatError, OutputError, UnsupportedArchitectureError: the input is wrong.
        TrainingError, FitError: the loss or the activations are no numbers, or nothing determines a matrix.
    """
    files = [data] if isinstance(data, str | Path) else data
    arguments = ["--model", str(model), "--data", *map(str, files), "--output", str(output)]
    for name, value in options.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    return run(parse_run(arguments), say)
