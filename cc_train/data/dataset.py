"""Parallel rows: read, checked, encoded and batched. A row that cannot be used is named, never silently dropped.

A row has ``lang`` (ISO 639-1), ``instruction`` in that language, ``instruction_en`` and ``output``; or, instead of the
instructions, ``messages`` and ``messages_en``, conversations that end with a user's turn, or with the answer. ``id``
and ``task`` are optional, other fields are ignored. English rows are trained plain, because English is served plain,
and need no English parallel; for plain fine-tuning no row does.
A sentence in many languages, one field each (``en`` among them), is a pair of user turns for each, without answers:
the Transform Matrices can be fitted on it, and nothing trained.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cc_core.connection import ANCHOR_OFFSET
from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.rows import FIELDS, MissingFieldError, Row, SkippedRow, UnusableError, rows_of
from cc_train.data.sources import DataError, Source, read_records

IGNORED = -100  # the label that cross-entropy skips


@dataclass(frozen=True, slots=True)
class Example:
    """An encoded row. Token ids, int32: ``prompt`` [N], ``answer`` [A] with its end of turn, ``english`` [M]."""

    row: Row
    prompt: np.ndarray
    answer: np.ndarray
    english: np.ndarray


def read_rows(
    sources: Sequence[str | Path | Source],
    columns: Mapping[str, str] | None = None,
    *,
    answers: bool = True,
    parallels: bool = True,
    seed: int = 0,
) -> tuple[list[Row], list[SkippedRow]]:
    """Read and check every row, each as often as its source's weight says.

    Args:
        sources: where to read.
        columns: the column that holds a field, for fields under another name.
        answers: whether a row needs one.
        parallels: whether a row needs its English parallel.
        seed: of the rows that a weight picks.

    Raises:
        DataError: a source cannot be read to its end, or no row of it has the columns.
    """
    unknown = sorted(set(columns or {}) - set(FIELDS))
    if unknown:
        close = difflib.get_close_matches(unknown[0], FIELDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; fields: {', '.join(FIELDS)}"
        raise DataError(f"--columns: {unknown[0]!r} is no field of a row{hint}")
    rows: list[Row] = []
    skipped: list[SkippedRow] = []
    for source in sources:
        weighted = source if isinstance(source, Source) else Source(str(source))
        found, unusable = _read_source(weighted.name, columns or {}, answers, parallels)
        rows += _weighted(found, weighted, seed)
        skipped += unusable
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

    A long prompt loses its oldest turns and the beginning of the user's text; a row whose answer leaves no room or has
    no tokens, or whose prompt is too short to hold the anchor, is skipped.
    """
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    for row in rows:
        try:
            examples.append(_encoded(row, encoder, max_length, anchor_offset))
        except (UnusableError, ChatError) as error:
            skipped.append(SkippedRow(row.file, row.line, str(error)))
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


def _read_source(
    name: str, columns: Mapping[str, str], answers: bool, parallels: bool
) -> tuple[list[Row], list[SkippedRow]]:
    rows: list[Row] = []
    skipped: list[SkippedRow] = []
    missing = ""
    for file, record in read_records(name):
        try:
            rows += rows_of(record, columns, file, answers=answers, parallels=parallels)
        except UnusableError as error:
            skipped.append(SkippedRow(file, record.number, str(error)))
            if isinstance(error, MissingFieldError) and isinstance(record.fields, Mapping):
                missing = missing or f"{error} in a row of {', '.join(map(repr, record.fields))}"
    if missing and not rows:
        raise DataError(f"{name}: no row can be used: {missing}; name columns with --columns FIELD=COLUMN,...")
    return rows, skipped


def _weighted(rows: list[Row], source: Source, seed: int) -> list[Row]:
    """Every row as often as the weight says; what is left of it picks a sample that depends on seed and name."""
    whole, part = divmod(source.weight, 1)
    seed = random.Random(f"{seed} {source.name}").getrandbits(32)
    return rows * int(whole) + (sample_rows(rows, round(part * len(rows)), seed) if part else [])


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
        raise UnusableError(f"an answer of {len(answer)} tokens leaves no room for a prompt in max_length {max_length}")
    shortest = min(len(prompt), len(english) or len(prompt))
    if shortest < -anchor_offset:
        raise UnusableError(f"a prompt of {shortest} tokens has no anchor at offset {anchor_offset}")
    return Example(row, *(np.asarray(ids, dtype=np.int32) for ids in (prompt, answer, english)))
