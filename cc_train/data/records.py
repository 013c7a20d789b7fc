"""A record, before it is known whether it is a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class DataError(ValueError):
    """The data cannot be used; the message names the file."""


class UnreadableError(ValueError):
    """Why one record cannot be read."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its line in the file, or its number in a table or array, from 1; its fields, or why it has none."""

    number: int
    fields: Mapping[str, Any] | UnreadableError
