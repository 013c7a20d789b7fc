"""What the commands share: how one is declared, and how one refuses bad input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TypeAlias

from cc_core.terminal.exit_codes import BAD_INPUT

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add a command to ``commands``, and return its parser.

    Args:
        commands: the subparsers of the command above.
        name: the command's word.
        run: takes the parsed options and returns the exit code.
        summary: one line, for the list of commands.
        description: for the command's own help; its line breaks are kept.
        example: a command line.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def refuse(problem: object) -> int:
    """Print in one line what the caller has to correct, and return the exit code for that."""
    print(f"cc-serve: {problem}", file=sys.stderr)
    return BAD_INPUT
