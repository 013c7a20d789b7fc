"""``cc-train completion``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cc_core.terminal.completion import add_shell, print_completion
from cc_core.terminal.usage import SuggestingParser
from cc_train.commands.main import COMMANDS, command


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train completion``."""
    parser = SuggestingParser(
        "cc-train completion",
        description="Print the completion of this command for a shell.",
        epilog="example: cc-train completion bash > ~/.local/share/bash-completion/completions/cc-train",
    )
    add_shell(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train completion``."""
    shell = make_parser().parse_args(arguments).shell
    whole = argparse.ArgumentParser("cc-train")
    commands = whole.add_subparsers()
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text)
        commands.choices[name] = command(name).make_parser()
    print_completion(whole, shell)
    return 0
