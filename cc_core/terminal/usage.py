"""Command lines that answer a misspelled word with the closest known one."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (\S+)")
_UNKNOWN_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` with the closest of ``known``, or an empty string."""
    close = difflib.get_close_matches(word, sorted(set(known)), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def unknown_option(
    parser: argparse.ArgumentParser, given: Sequence[str], meanings: Callable[[str], str | None] = lambda _: None
) -> str | None:
    """The error for the first unknown option, or None.

    Args:
        parser: knows the options.
        given: the command line.
        meanings: what an option of another program is called in this one; None if that is not known.
    """
    known = option_strings(parser)
    for option in (argument.split("=")[0] for argument in given if argument.startswith("--") and argument != "--"):
        if option not in known:
            meant = meanings(option)
            return f"unknown option {option}" + (f"; here: {meant}" if meant else suggestion(option, known))
    return None


class SuggestingParser(argparse.ArgumentParser):
    """Suggests the option or command that was probably meant, also for subcommands. Takes no abbreviations."""

    _given: Sequence[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if match := _UNKNOWN_OPTION.search(message):
            message += suggestion(match[1].split("=")[0], option_strings(self))
        elif match := _UNKNOWN_CHOICE.search(message):
            message += suggestion(match[1], [choice.strip(" '") for choice in match[2].split(",")])
        elif "required" in message:  # perhaps the required option was given, but misspelled
            message = unknown_option(self, self._given) or message
        super().error(message)


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number of at least ``least``, which is 0 or more.

    It raises ``ArgumentTypeError`` for any other text.
    """

    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}")
        return int(text)

    return whole_number


#: The type of an option that counts something.
positive: Final = at_least(1)


def seconds(text: str) -> float:
    """The type of an option that is a time; raises ``ArgumentTypeError`` unless it is finite and above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return value


def option_strings(parser: argparse.ArgumentParser) -> list[str]:
    """Every option of ``parser`` and of its subcommands."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            found += [option for command in action.choices.values() for option in option_strings(command)]
    return found
