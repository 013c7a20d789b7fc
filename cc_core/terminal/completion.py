"""Shell completion for both command lines."""

from __future__ import annotations

import argparse
from typing import Final

SHELLS: Final = ("bash", "zsh")


def print_completion(parser: argparse.ArgumentParser, shell: str) -> None:
    """Print the script by which ``shell``, one of `SHELLS`, completes the command of ``parser``."""
    import shtab  # here, since every command imports this module for SHELLS

    print(shtab.complete(parser, shell))
