"""Parallel rows: read, checked, encoded and batched. A row that cannot be used is named, never silently dropped.

One JSON object a line, plain or gzipped, with ``lang`` (ISO 639-1), ``instruction`` in that language,
``instruction_en`` and ``output``; ``id`` and ``task`` are optional, other fields are ignored. English rows are
trained plain, because English is served plain.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cc_train.chat import ChatEncoder
from cc_train.checkpoint import LANGUAGE_CODE
from cc_train.connection import ANCHOR_OFFSET

ENGLISH = "en"
IGNORED = -100  # the label that cross-entropy skips
_REQUIRED = ("lang", "instruction", "instruction_en", "output")
_LONG_ENOUGH = 80  # characters of a bad value that a message shows


class DataError(ValueError):
    """The data cannot be used at all; the message names the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One parallel row, and where it came from: ``file`` is the path as it was given."""

    lang: str
    instruction: str
    instruction_en: str
    output: str
    file: str
    line: int
    id: str = ""
    task: str = ""

    @property
    def connected(self) -> bool:
        """Whether the row is trained with the connection."""
        return self.lang != ENGLISH

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.id})" if self.id else "")


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that was not used."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Example:
    """An encoded row. Token ids, int32: ``prompt`` [N], ``answer`` [A] with its end of turn, ``english`` [M]."""

    row: Row
    prompt: np.ndarray
    answer: np.ndarray
    english: np.ndarray


def read_rows(paths: Sequence[str | Path]) -> tuple[list[Row], list[SkippedRow]]:
    """Read and check every row of the files.

    Raises:
        DataError: a file cannot be opened, is corrupt or ends in the middle.
    """
    rows: list[Row] = []
    skipped: list[SkippedRow] = []
    for name in map(str, paths):
        for line, payload in _lines(Path(name)):
            if not payload.strip():
                continue
            try:
                rows.append(_row(payload, name, line))
            except _UnusableError as error:
                skipped.append(SkippedRow(name, line, str(error)))
    return rows, skipped


def sample_rows(rows: list[Row], limit: int | None, seed: int) -> list[Row]:
    """A seeded sample of at most ``limit`` rows in their order; files are often sorted by language."""
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def encode_rows(
    rows: Iterable[Row], encoder: ChatEncoder, max_length: int, anchor_offset: int = ANCHOR_OFFSET
) -> tuple[list[Example], list[SkippedRow]]:
    """Encode rows to at most ``max_length`` tokens, prompt and answer together.

    A long prompt loses the beginning of the user's text; a row whose answer leaves no room, or whose prompt is too
    short to hold the anchor, is skipped.
    """
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    for row in rows:
        answer = encoder.answer(row.output)
        prompt = encoder.prompt(row.instruction, max_length - len(answer))
        english = encoder.prompt(row.instruction_en, max_length) if row.connected else []
        if prompt is None or english is None:
            reason = f"an answer of {len(answer)} tokens leaves no room for a prompt in max_length {max_length}"
            skipped.append(SkippedRow(row.file, row.line, reason))
            continue
        shortest = min(len(prompt), len(english)) if row.connected else len(prompt)
        if shortest < -anchor_offset:
            reason = f"a prompt of {shortest} tokens has no anchor at offset {anchor_offset}"
            skipped.append(SkippedRow(row.file, row.line, reason))
            continue
        examples.append(Example(row, *(np.asarray(ids, dtype=np.int32) for ids in (prompt, answer, english))))
    return examples, skipped


class PairDataset(Dataset[dict[str, Any]]):
    """Examples as Trainer reads them; ``row`` is the example's index, by which an error names it."""

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        return {
            "input_ids": np.concatenate([example.prompt, example.answer]),  # Trainer groups by its length
            "prompt_length": len(example.prompt),
            "english": example.english,
            "connected": example.row.connected,
            "row": index,
        }


@dataclass(frozen=True)
class PairCollator:
    """Batches items of `PairDataset`, padded on the right.

    Args:
        pad_id: fills, always under a zero of the attention mask.
        anchor_offset: the anchor's position, counted from the prompt's end.

    Returns:
        ``input_ids``, ``attention_mask``, ``labels`` [B, N]: prompt and answer; labels only on the answer.
        ``english_input_ids``, ``english_attention_mask`` [B, M]: the English prompts, all padding in plain rows.
        ``anchors`` [B], ``connected`` [B] bool, ``row`` [B].
    """

    pad_id: int
    anchor_offset: int = ANCHOR_OFFSET

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        ids, mask = pad_right([item["input_ids"] for item in items], self.pad_id)
        english, english_mask = pad_right([item["english"] for item in items], self.pad_id)
        lengths = torch.tensor([item["prompt_length"] for item in items])
        is_answer = (torch.arange(ids.shape[1]) >= lengths[:, None]) & mask.bool()
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": ids.masked_fill(~is_answer, IGNORED),
            "english_input_ids": english,
            "english_attention_mask": english_mask,
            "anchors": lengths + self.anchor_offset,
            "connected": torch.tensor([item["connected"] for item in items]),
            "row": torch.tensor([item["row"] for item in items]),
        }


def pad_right(sequences: Sequence[np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask ``[B, N]``, int64, of sequences of any lengths (N is at least 1)."""
    longest = max(1, *(len(s) for s in sequences))
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.as_tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids, mask


class _UnusableError(ValueError):
    """Why one row cannot be used."""


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines of a plain or gzipped file, recognised by its content."""
    number = 0
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            for number, payload in enumerate(file, start=1):
                yield number, payload
    except (OSError, EOFError, zlib.error) as error:
        where = f" after line {number}" if number else ""
        raise DataError(f"{path}: cannot be read{where}: {getattr(error, 'strerror', None) or error}") from error


def _row(payload: bytes, file: str, line: int) -> Row:
    """Check one line; raises `_UnusableError`."""
    try:
        content = json.loads(payload.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise _UnusableError(f"not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _UnusableError(f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise _UnusableError("not a JSON object")
    for field in _REQUIRED:
        if field not in content:
            raise _UnusableError(f"field {field!r} is missing")
        value = content[field]
        if not isinstance(value, str):
            raise _UnusableError(f"field {field!r} is not a string (found {_shown(value)})")
        if not value.strip():
            raise _UnusableError(f"field {field!r} is empty")
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise _UnusableError(f"field {field!r} holds a lone surrogate, which is no text")
    if not LANGUAGE_CODE.fullmatch(content["lang"]):
        raise _UnusableError(f"field 'lang' is not an ISO 639-1 code (found {_shown(content['lang'])})")
    return Row(
        **{field: content[field] for field in _REQUIRED},
        file=file,
        line=line,
        id=str(content.get("id", "")),
        task=str(content.get("task", "")),
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONG_ENOUGH else text[:_LONG_ENOUGH] + "…"
