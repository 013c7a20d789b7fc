"""The completion of a command line, for the shells that shtab knows."""

import argparse
from typing import Final

SHELLS: Final = ("bash", "zsh")


def add_shell(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the shell."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def print_completion(parser: argparse.ArgumentParser, shell: str) -> None:
    """Print a shell's script that completes everything ``parser`` takes, its subcommands' options too."""
    import shtab

    print(shtab.complete(parser, shell))
