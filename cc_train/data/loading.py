"""From the data options to encoded rows. Reports unusable rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from cc_core.connection import ANCHOR_OFFSET
from cc_core.terminal.text import all_are, counted
from cc_train.data.chat import ChatEncoder
from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.encoding import Example, encode_rows
from cc_train.data.language_codes import misspelt
from cc_train.data.reading import read_rows, sample_rows
from cc_train.data.records import DataError
from cc_train.data.rows import Row, SkippedRow
from cc_train.data.sources import parse_columns, parse_sources
from cc_train.terminal.notes import Say, silent
from cc_train.terminal.progress import progress

_SHOWN = 20


def load_examples(
    given: Sequence[str],
    encoder: ChatEncoder,
    *,
    columns: str | None = None,
    max_length: int = 1024,
    max_rows: int | None = None,
    anchor_offset: int = ANCHOR_OFFSET,
    seed: int = 0,
    answers: bool = True,
    parallels: bool = True,
    all_turns: bool = False,
    say: Say = silent,
    shows_progress: bool = True,
    directory: Path | None = None,
) -> tuple[DiskSequence[Example], list[SkippedRow]]:
    """Read, sample and encode rows.

    Args:
        given: sources, as `cc_train.data.sources.parse_sources` takes them.
        encoder: the model's encoder.
        columns: as `cc_train.data.sources.parse_columns` takes them.
        max_length: most tokens of prompt and answer.
        max_rows: how many rows to sample at most; None for all.
        anchor_offset: the anchor's position, counted from a prompt's end.
        seed: draws the samples.
        answers: whether a row needs an answer.
        parallels: whether a row needs its English parallel.
        all_turns: whether every answer of a conversation is trained on, rather than the last.
        say: receives the unusable rows and the counts.
        shows_progress: whether a bar is drawn.
        directory: on whose disk the rows are kept.

    Raises:
        DataError: a source cannot be read, or no row can be used.
    """
    sources = parse_sources(given)
    names = ", ".join(source.name for source in sources)
    unused: Counter[str] = Counter()
    rows, skipped = read_rows(
        sources,
        parse_columns(columns),
        answers=answers,
        parallels=parallels,
        all_turns=all_turns,
        seed=seed,
        unused=unused,
        directory=directory,
    )
    rows = sample_rows(rows, max_rows, seed)
    with progress("encoding", len(rows), shown=shows_progress) as advance:
        examples, unusable = encode_rows(_advancing(rows, advance), encoder, max_length, anchor_offset, directory)
    skipped += unusable
    for row in skipped[:_SHOWN]:
        say(f"skipped {row}")
    if len(skipped) > _SHOWN:
        say(f"skipped {counted(len(skipped) - _SHOWN, 'more row')}")
    for column, records in unused.most_common():
        there = counted(records, "row has it", "rows have it")
        say(f"column {column!r} is not used ({there}); {_advice(column, answers)}")
    say(f"{counted(len(examples), 'row')} used, {len(skipped)} skipped, from {names}")
    if not examples:
        reasons = Counter(row.reason for row in skipped).most_common(1)
        raise DataError(f"no row of {names} can be used: {reasons[0][0] if reasons else 'there is none'}")
    return examples, skipped


def require_connected(examples: Sequence[Example], what: str, otherwise: str) -> None:
    """Raise `DataError` if every row is English.

    Args:
        examples: the rows.
        what: what is for other languages, for the message.
        otherwise: what to do instead of adding rows in them.
    """
    if not any(example.row.connected for example in examples):
        raise DataError(
            f"{all_are(len(examples), 'row')} in English, and {what} is for other languages; "
            f"add rows in them, or {otherwise}"
        )


def _advice(column: str, answers: bool) -> str:
    """What to do with a column that is not used. Without answers, it may hold sentences of a language."""
    return (None if answers else misspelt(column)) or "--columns FIELD=COLUMN gives it a meaning"


def _advancing(rows: Iterable[Row], advance: Callable[[int], object]) -> Iterator[Row]:
    for row in rows:
        yield row
        advance(1)
