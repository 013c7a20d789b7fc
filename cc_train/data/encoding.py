"""From rows to token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cc_core.connection import ANCHOR_OFFSET
from cc_core.terminal.text import counted
from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.checks import UnusableError
from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.rows import Row, SkippedRow

_ROW_FIELDS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Example:
    """An encoded row. Token ids, int32: ``prompt`` [N], ``answer`` [A] with the end of its turn, ``english`` [M]."""

    row: Row
    prompt: np.ndarray
    answer: np.ndarray
    english: np.ndarray

    def __reduce__(self) -> tuple[Any, ...]:
        """A form to write to disk. Python reads it in less than half the time of a pickled dataclass of arrays."""
        row = tuple(getattr(self.row, field) for field in _ROW_FIELDS)
        return _example, (row, *(bytearray(ids.tobytes()) for ids in (self.prompt, self.answer, self.english)))

    @property
    def english_digest(self) -> bytes:
        """The digest of the English prompt; of an English row, that of its own prompt."""
        return digest((self.english if self.row.connected else self.prompt).tobytes())

    @property
    def connected(self) -> bool:
        """Whether the row is trained with the connection. Without an answer, it joins the alignment only."""
        return self.row.connected and len(self.answer) > 0


def _example(row: tuple[Any, ...], *ids: bytearray) -> Example:
    return Example(Row(*row), *(np.frombuffer(some, np.int32) for some in ids))


def digest(content: bytes) -> bytes:
    """A short digest, for telling millions of prompts or rows apart."""
    return hashlib.blake2b(content, digest_size=16).digest()


def encode_rows(
    rows: Iterable[Row],
    encoder: ChatEncoder,
    max_length: int,
    anchor_offset: int = ANCHOR_OFFSET,
    directory: Path | None = None,
) -> tuple[DiskSequence[Example], list[SkippedRow]]:
    """Encode rows to at most ``max_length`` tokens, prompt and answer together.

    A long prompt loses its oldest turns and the beginning of the user's text. A row is skipped if its answer leaves no
    room for a prompt or has no tokens, or if its prompt is too short to hold the anchor.

    Args:
        rows: the rows to encode.
        encoder: the model's encoder.
        max_length: most tokens of prompt and answer.
        anchor_offset: the anchor's position, counted from the prompt's end.
        directory: on whose disk the examples are kept.
    """
    skipped: list[SkippedRow] = []

    def encoded() -> Iterator[Example]:
        for row in rows:
            try:
                yield _encoded(row, encoder, max_length, anchor_offset)
            except (UnusableError, ChatError) as error:
                skipped.append(SkippedRow(row.file, row.line, str(error)))

    return DiskSequence(encoded(), directory), skipped


def _encoded(row: Row, encoder: ChatEncoder, max_length: int, anchor_offset: int) -> Example:
    """Encode one row; raises `UnusableError`, or `ChatError` where the template cannot render its conversation."""
    answer = encoder.answer(row.output) if row.output else []
    if row.output and len(answer) == len(encoder.end):
        raise UnusableError(f"the answer {row.output[:20]!r} has no tokens")
    prompt = encoder.prompt(row.messages or row.instruction, max_length - len(answer))
    english: list[int] | None = []
    if row.connected and row.instruction_en:
        english = encoder.prompt(row.messages_en or row.instruction_en, max_length)
    if prompt is None or english is None:
        raise UnusableError(
            f"an answer of {counted(len(answer), 'token')} leaves no room for a prompt in max_length {max_length}"
        )
    shortest = min(len(prompt), len(english) or len(prompt))
    if shortest < -anchor_offset:
        raise UnusableError(f"a prompt of {counted(shortest, 'token')} has no anchor at offset {anchor_offset}")
    return Example(row, *(np.asarray(ids, dtype=np.int32) for ids in (prompt, answer, english)))
