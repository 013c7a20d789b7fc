"""Command lines that answer a misspelled word with the right one."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable
from typing import NoReturn

_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (\S+)")
_UNKNOWN_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` for the closest of ``known``, or nothing where none is close."""
    close = difflib.get_close_matches(word, sorted(set(known)), n=1)
    return f"; did you mean {close[0]}?" if close else ""


class SuggestingParser(argparse.ArgumentParser):
    """Names the option or the command that was probably meant, in itself and in its subcommands."""

    def error(self, message: str) -> NoReturn:
        if match := _UNKNOWN_OPTION.search(message):
            message += suggestion(match[1].split("=")[0], option_strings(self))
        elif match := _UNKNOWN_CHOICE.search(message):
            message += suggestion(match[1], [choice.strip(" '") for choice in match[2].split(",")])
        super().error(message)


def option_strings(parser: argparse.ArgumentParser) -> list[str]:
    """Every option that ``parser`` or one of its subcommands knows."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            found += [option for command in action.choices.values() for option in option_strings(command)]
    return found
