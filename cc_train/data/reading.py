"""Rows from their sources. A row that cannot be used is named, never silently dropped."""

from __future__ import annotations

import difflib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cc_train.data.checks import MissingFieldError, UnusableError
from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.fields import FIELDS, Fields
from cc_train.data.records import DataError
from cc_train.data.rows import Row, SkippedRow, rows_of
from cc_train.data.sources import Source, read_records


def read_rows(
    sources: Sequence[str | Path | Source],
    columns: Mapping[str, str] | None = None,
    *,
    answers: bool = True,
    parallels: bool = True,
    all_turns: bool = False,
    seed: int = 0,
    unused: Counter[str] | None = None,
    directory: Path | None = None,
) -> tuple[DiskSequence[Row], list[SkippedRow]]:
    """Read and check every row; each comes as often as its source's weight says.

    Args:
        sources: where to read.
        columns: the column that holds a field, for fields under another name.
        answers: whether a row needs an answer.
        parallels: whether a row needs its English parallel.
        all_turns: whether every answer of a conversation gets a row, rather than the last.
        unused: receives the columns that no field is read from, and how many records have something in them.
        seed: of the sample that a weight's fraction draws.
        directory: on whose disk the rows are kept.

    Raises:
        DataError: a source cannot be read to its end, or no row of it has the columns.
    """
    unknown = sorted(set(columns or {}) - set(FIELDS))
    if unknown:
        close = difflib.get_close_matches(unknown[0], FIELDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; fields: {', '.join(FIELDS)}"
        raise DataError(f"--columns: {unknown[0]!r} is no field of a row{hint}")
    rows: DiskSequence[Row] = DiskSequence()
    skipped: list[SkippedRow] = []
    for source in sources:
        weighted = source if isinstance(source, Source) else Source(str(source))
        make = partial(rows_of, columns=columns or {}, answers=answers, parallels=parallels, all_turns=all_turns)
        found = _source_rows(weighted.name, columns or {}, make, Counter() if unused is None else unused, skipped)
        rows += _weighted(DiskSequence(found, directory), weighted, seed)
    return rows, skipped


def sample_rows(rows: DiskSequence[Row], limit: int | None, seed: int) -> DiskSequence[Row]:
    """A seeded sample of at most ``limit`` rows in their order; files are often sorted by language."""
    if limit is None or limit >= len(rows):
        return rows
    return rows.choose(sorted(random.Random(seed).sample(range(len(rows)), limit)))


def _source_rows(
    name: str,
    columns: Mapping[str, str],
    make: Callable[..., list[Row]],
    unused: Counter[str],
    skipped: list[SkippedRow],
) -> Iterator[Row]:
    missing, usable = "", False
    for file, record in read_records(name):
        try:
            rows = make(record, file=file)
            yield from rows
            usable = usable or bool(rows)
            if isinstance(record.fields, Mapping):
                unused.update(Fields(record.fields, columns).unused())
        except UnusableError as error:
            skipped.append(SkippedRow(file, record.number, str(error)))
            if isinstance(error, MissingFieldError) and isinstance(record.fields, Mapping):
                missing = missing or f"{error} in a row of {', '.join(map(repr, record.fields))}"
    if missing and not usable:
        raise DataError(f"{name}: no row can be used: {missing}; name columns with --columns FIELD=COLUMN,...")


def _weighted(rows: DiskSequence[Row], source: Source, seed: int) -> DiskSequence[Row]:
    """Every row as often as the weight says; its fraction draws a sample that depends on seed and source."""
    whole, part = divmod(source.weight, 1)
    seed = random.Random(f"{seed} {source.name}").getrandbits(32)
    several = rows.choose(np.tile(np.arange(len(rows)), int(whole)))
    return several + sample_rows(rows, round(part * len(rows)), seed) if part else several
