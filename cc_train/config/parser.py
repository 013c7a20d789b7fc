"""A parser whose options are the fields of dataclasses."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from transformers import HfArgumentParser

from cc_core.terminal.text import one_line
from cc_core.terminal.usage import unknown_option
from cc_train.config.other_names import other_name

T = TypeVar("T")


class UsageError(ValueError):
    """An option is missing, unknown or wrong; the message is one line."""


def check(rules: Iterable[tuple[str, bool, str]]) -> None:
    """Raise `UsageError` for the first option that is wrong.

    Args:
        rules: an option, whether it is wrong, and what it must be.
    """
    for option, wrong, rule in rules:
        if wrong:
            raise UsageError(f"{option} {rule}")


class OptionParser(HfArgumentParser):
    """A parser of the options that are the fields of ``groups``, dataclasses, under ``usage``.

    It raises `UsageError` instead of printing more than a hundred options of usage.
    """

    def __init__(self, groups: Sequence[type], prog: str, *, usage: str, description: str, epilog: str = "") -> None:
        kinds: Any = groups  # transformers types them as instances
        super().__init__(
            kinds, prog=prog, usage=usage, description=description, epilog=epilog or None, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The value of every option; raises `UsageError`."""
        if problem := unknown_option(self, arguments, other_name):
            raise UsageError(problem)
        options, rest = self.parse_known_args(list(arguments))
        if rest:
            raise UsageError(f"unexpected argument {rest[0]!r}: options begin with --")
        return options


def fill(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass made of the values that are named like its fields.

    Raises:
        UsageError: the dataclass refuses them.
    """
    names = [field.name for field in fields(kind) if field.init]  # type: ignore[arg-type]
    try:
        return kind(**{name: values[name] for name in names})
    except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:  # some look for files and packages
        raise UsageError(one_line(error)) from error
