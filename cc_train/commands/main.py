"""``cc-train``: one command a word, each a function of its arguments."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser, suggestion
from cc_train.commands.extras import not_installed
from cc_train.commands.run_help import help_text

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Command:
    """What a command does, and where: its module is imported when it is called, so that --help is instant."""

    text: str
    module: str
    run: str = "main"
    parser: str = "make_parser"

    def function(self, name: str) -> Any:
        return getattr(importlib.import_module(self.module), name)


_EVALUATION = "cc_train.commands.evaluation"
COMMANDS = {
    "attach": Command("put a connection that was trained alone on its base model", "cc_train.model.standalone"),
    "base": Command("make a small base model from an installed package", "cc_train.model.base_models"),
    "compare": Command("compare two evaluations on the same rows", _EVALUATION, "compare_command", "comparison_parser"),
    "data": Command("check rows before training: data check FILES", "cc_train.data.check"),
    "eval": Command("evaluate a served model or a checkpoint", _EVALUATION, "evaluate_command", "evaluation_parser"),
    "completion": Command("print a shell's completion", "cc_train.commands.main", "completion", "completion_parser"),
    "fit": Command("fit a checkpoint's Transform Matrices again", "cc_train.fit.refit"),
    "report": Command("write a run's report again", "cc_train.report.page"),
    "run": Command(
        "train a model with the connection and fit it", "cc_train.commands.main", "run_command", "run_parser"
    ),
}
SHELLS = ("bash", "zsh")
RESUME = "--resume-from-checkpoint"
_USAGE = "usage: cc-train COMMAND [options]\n\ncommands:\n"
_EPILOG = """
cc-train COMMAND --help lists a command's options; cc-train --version prints the version.

exit codes: 0 done; 1 `data check` found something, or the endpoint of `eval` gave up; 2 for you to
correct, with one line that says what; 130 or 143 stopped by Ctrl-C or SIGTERM, with the command
that goes on

example:
  cc-train base --output models/base
  cc-train run --model models/base --data PAIRS.jsonl --output outputs/mine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 2 for bad input, with one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        print(f"cc-train {version('cc-serve')}")
        return 0
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE + "".join(f"  {name:<12} {command.text}\n" for name, command in COMMANDS.items()), end="")
        print(_EPILOG, end="")
        return 0 if given else BAD_INPUT
    name, *rest = given
    if name not in COMMANDS:
        hint = suggestion(name, COMMANDS) or f"; commands: {', '.join(COMMANDS)}"
        print(f"cc-train: unknown command {name!r}{hint}", file=sys.stderr)
        return BAD_INPUT
    command = COMMANDS[name]
    try:
        return command.function(command.run)(rest)
    except ImportError:
        if missing := not_installed("train"):
            print(f'cc-train: {", ".join(missing)} not installed: pip install "cc-serve[train]"', file=sys.stderr)
            return BAD_INPUT
        raise


def run_parser() -> Any:
    """The parser of ``cc-train run``."""
    from cc_train.config.run import make_parser

    return make_parser()


def run_command(arguments: Sequence[str]) -> int:
    """``cc-train run``."""
    from rich.console import Console
    from rich.markup import escape

    from cc_core.architectures import UnsupportedArchitectureError
    from cc_core.checkpoint import CheckpointError
    from cc_train.config.run import UsageError, make_parser, parse_run
    from cc_train.data.chat import ChatError
    from cc_train.data.dataset import DataError
    from cc_train.fit.least_squares import FitError
    from cc_train.training.run import run
    from cc_train.training.stopping import Stopped
    from cc_train.training.trainer import TrainingError
    from cc_train.workspace import OutputError

    if text := help_text(make_parser(), arguments):
        print(text, end="")
        return 0
    console = Console(stderr=True)
    output: Path | None = None
    speaks = True
    try:
        config = parse_run(arguments)
        output = config.output
        speaks = config.training.should_save  # of the processes of a parallel job, only the first
        result = run(config, lambda line: console.print(escape(line), highlight=False) if speaks else None)
    except (
        UsageError,
        DataError,
        OutputError,
        ChatError,
        CheckpointError,
        UnsupportedArchitectureError,
    ) as error:
        print(f"cc-train run: {error}", file=sys.stderr)
        return BAD_INPUT
    except (TrainingError, FitError) as error:
        print(f"cc-train run: {error}{_left(output, arguments)}", file=sys.stderr)
        return BAD_INPUT
    except Stopped as stopped:
        if speaks:
            print(f"cc-train run: stopped by {stopped}{_left(output, arguments)}", file=sys.stderr)
        return stopped.exit_code
    if not speaks:
        return 0
    Console().print(summary_table(result))
    print(f"{'connection' if result.tuning == 'connection' else 'checkpoint'}: {result.directory}")
    if result.tuning == "connection":
        print(f"attach it:  cc-train attach --model {config.model.model} --connection {result.directory} --output DIR")
    elif result.method == "cc":
        print(f"serve it:   cc-serve serve {result.directory}")
    return 0


def completion_parser() -> SuggestingParser:
    """The parser of ``cc-train completion``."""
    parser = SuggestingParser(
        "cc-train completion",
        description="Print the completion of this command for a shell.",
        epilog="example: cc-train completion bash > ~/.local/share/bash-completion/completions/cc-train",
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser


def completion(arguments: Sequence[str]) -> int:
    """``cc-train completion``."""
    shell = completion_parser().parse_args(arguments).shell

    import shtab

    whole = argparse.ArgumentParser("cc-train")
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.text)
        commands.choices[name] = command.function(command.parser)()
    print(shtab.complete(whole, shell))
    return 0


def _left(output: Path | None, arguments: Sequence[str]) -> str:
    """The end of a message: the last checkpoint of the run to ``output``, and the command that goes on from it."""
    from cc_train.workspace import unfinished_checkpoints

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


def summary_table(result: Any) -> Table:
    """The end of a run by language: rows, and what the connection is worth."""
    from cc_train.report.tables import score_table

    return score_table(f"{result.method}: training loss {result.loss:.4f}", "rows", result.examples, result.fit)


if __name__ == "__main__":
    sys.exit(main())
