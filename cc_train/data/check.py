"""What training would make of rows, before it starts: lengths, rows that are dropped, and rows that look wrong."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cc_train.data.chat import ChatEncoder
from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.encoding import digest, encode_rows
from cc_train.data.rows import Row, SkippedRow
from cc_train.data.suspicions import answer_language, suspicions
from cc_train.data.token_counts import tokens_by_language

PERCENTILES = (50, 90, 99, 100)


@dataclass
class Findings:
    """What is in the rows.

    Args:
        rows: how many can be used, by language and task; rows without a task are under "".
        lengths: of ``instruction``, ``instruction_en`` and ``output``, in ``unit``, by percentile.
        unit: ``characters``, or ``tokens`` of the model's tokenizer.
        truncated: prompts that lose their beginning.
        dropped: names of the rows that are not used, by reason.
        duplicates: names of rows that equal an earlier one.
        suspects: names of rows that do not look like a pair, by what is wrong.
        tokens: by language, from `cc_train.data.token_counts.tokens_by_language`; empty without a model.
        answer_languages: by ``lang``, how many answers are surely in each language; "" counts those that may be in any.
        unused: columns that no field is read from, with the number of records that have something in them.
        unconnected: whether all rows are in English, so that no connection can be trained on them.
    """

    unit: str
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: dict[str, dict[str, int]] = field(default_factory=dict)
    truncated: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    suspects: dict[str, list[str]] = field(default_factory=dict)
    tokens: dict[str, dict[str, float]] = field(default_factory=dict)
    answer_languages: dict[str, dict[str, int]] = field(default_factory=dict)
    unused: dict[str, int] = field(default_factory=dict)
    unconnected: bool = False

    @property
    def clean(self) -> bool:
        """Whether every row is used, none is suspicious and some can be connected.

        Neither cut prompts nor unused columns count.
        """
        return not (self.dropped or self.duplicates or self.suspects or self.unconnected)


def check_rows(
    rows: Sequence[Row],
    skipped: Iterable[SkippedRow],
    encoder: ChatEncoder | None = None,
    max_length: int = 1024,
    connects: bool = True,
    unused: Mapping[str, int] | None = None,
) -> Findings:
    """Look at the rows of some sources.

    Args:
        rows: the rows that could be read.
        skipped: the rows that could not.
        encoder: of the model to train, to count tokens; None to count characters.
        max_length: most tokens of prompt and answer.
        connects: whether a connection is trained on them.
        unused: columns that no field is read from, with the number of records that have something in them.
    """
    findings = Findings("tokens" if encoder else "characters")
    dropped: dict[str, list[str]] = defaultdict(list)
    for unread in skipped:
        dropped[unread.reason].append(f"{unread.file}:{unread.line}")
    if encoder:
        rows = _check_tokens(rows, encoder, max_length, findings, dropped)
    else:
        texts = {
            name: [len(text) for row in rows if (text := getattr(row, name))]
            for name in ("instruction", "instruction_en", "output")
        }
        findings.lengths = {name: _percentiles(lengths) for name, lengths in texts.items()}
    by_language: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        by_language[row.lang][row.task] += 1
    findings.rows = {lang: dict(sorted(by_language[lang].items())) for lang in sorted(by_language)}
    findings.duplicates = _duplicates(rows)
    findings.suspects = suspicions(rows)
    findings.answer_languages = _answer_languages(rows)
    findings.unused = dict(unused or {})
    findings.unconnected = connects and bool(rows) and not any(row.connected for row in rows)
    findings.dropped = dict(dropped)
    return findings


def _check_tokens(
    rows: Sequence[Row], encoder: ChatEncoder, max_length: int, findings: Findings, dropped: dict[str, list[str]]
) -> Sequence[Row]:
    """Find lengths in tokens, truncated prompts and dropped rows; returns the rows that are used."""
    whole, unusable = encode_rows(rows, encoder, sys.maxsize)
    used, too_long = encode_rows((example.row for example in whole), encoder, max_length)
    for row in [*unusable, *too_long]:
        dropped[row.reason].append(f"{row.file}:{row.line}")
    unshortened = iter(whole)
    for example in used:
        before = next(each for each in unshortened if each.row == example.row)
        if len(example.prompt) < len(before.prompt) or len(example.english) < len(before.english):
            findings.truncated.append(example.row.name)
    lengths = {
        "instruction": [len(example.prompt) for example in whole],
        "instruction_en": [len(example.english) for example in whole if len(example.english)],
        "output": [len(example.answer) for example in whole],
    }
    findings.lengths = {name: _percentiles(values) for name, values in lengths.items()}
    findings.tokens = tokens_by_language(used)
    return DiskSequence(example.row for example in used)


def _percentiles(lengths: list[int]) -> dict[str, int]:
    if not lengths:
        return {}
    found = np.percentile(lengths, PERCENTILES, method="nearest")
    return {f"{p}%": int(value) for p, value in zip(PERCENTILES, found, strict=True)}


def _duplicates(rows: Sequence[Row]) -> list[str]:
    seen: set[bytes] = set()
    found = []
    for row in rows:
        text = (row.lang, row.messages or row.instruction, row.messages_en or row.instruction_en, row.output)
        key = digest(repr(text).encode("utf-8", "surrogatepass"))
        if key in seen:
            found.append(row.name)
        seen.add(key)
    return found


def _answer_languages(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """By the rows' language, how many answers are surely in each language; "" counts those that may be in any."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.output:
            found[row.lang][answer_language(row) or ""] += 1
    return {lang: dict(found[lang].most_common()) for lang in sorted(found)}
