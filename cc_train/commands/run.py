"""``cc-train run``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from cc_core.architectures import UnsupportedArchitectureError
from cc_core.checkpoint import CheckpointError
from cc_core.terminal.exit_codes import BAD_INPUT
from cc_train.commands.run_help import help_text
from cc_train.config.parser import UsageError
from cc_train.config.run import make_parser, parse_run
from cc_train.data.chat import ChatError
from cc_train.data.records import DataError
from cc_train.fit.least_squares import FitError
from cc_train.model.hub import PushError
from cc_train.terminal.notes import note, silent
from cc_train.terminal.tables import score_table
from cc_train.training.run import run
from cc_train.training.stopping import Stopped
from cc_train.training.trained_weights import TrainingError
from cc_train.workspace import OutputError, unfinished_checkpoints

RESUME = "--resume-from-checkpoint"
__all__ = ["main", "make_parser"]


def main(arguments: Sequence[str]) -> int:
    """``cc-train run``."""
    if text := help_text(make_parser(), arguments):
        print(text, end="")
        return 0
    output: Path | None = None
    speaks = True
    try:
        config = parse_run(arguments)
        output = config.output
        speaks = config.training.should_save  # of the processes of a parallel job, only the first
        result = run(config, note if speaks else silent)
    except (
        UsageError,
        DataError,
        OutputError,
        ChatError,
        CheckpointError,
        UnsupportedArchitectureError,
        PushError,
    ) as error:
        print(f"cc-train run: {error}", file=sys.stderr)
        return BAD_INPUT
    except (TrainingError, FitError) as error:
        print(f"cc-train run: {error}{_how_to_go_on(output, arguments)}", file=sys.stderr)
        return BAD_INPUT
    except Stopped as stopped:
        if speaks:
            print(f"cc-train run: stopped by {stopped}{_how_to_go_on(output, arguments)}", file=sys.stderr)
        return stopped.exit_code
    if not speaks:
        _end()
    title = f"{result.method}: training loss {result.loss:.4f}"
    Console().print(score_table(title, "rows", result.examples, result.fit))
    print(f"{'connection' if result.tuning == 'connection' else 'checkpoint'}: {result.directory}")
    if result.tuning == "connection":
        print(f"attach it:  cc-train attach --model {config.model.model} --connection {result.directory} --output DIR")
    elif result.method == "cc":
        print(f"serve it:   cc-serve serve {result.directory}")
    return 0


def _end() -> NoReturn:
    """End at once, as one of a parallel job's processes whose work is done.

    A regular exit waits for no thread of torch's, and C++ aborts a process that has one. Its launcher would then stop
    the first process, which still fits and saves.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _how_to_go_on(output: Path | None, arguments: Sequence[str]) -> str:
    """The end of a message: the command that goes on from the last checkpoint of the run to ``output``."""
    saved = unfinished_checkpoints(output) if output else []
    if not saved:
        return "; no checkpoint was written"
    kept: list[str] = []
    for argument in arguments:
        if kept and kept[-1] == RESUME:
            kept.pop()
        elif not argument.startswith(f"{RESUME}="):
            kept.append(argument)
    command = shlex.join(["cc-train", "run", *kept, RESUME, str(saved[-1])])
    parallel = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return f"; go on{', with the same launcher,' if parallel else ''} with: {command}"
