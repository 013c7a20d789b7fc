"""``cc-train data check``: what training would make of the rows, before it starts."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector
from cc_core.names import ENGLISH
from cc_core.terminal.exit_codes import BAD_INPUT, FAILURE
from cc_core.terminal.usage import SuggestingParser
from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.dataset import encode_rows, read_rows
from cc_train.data.rows import Row, SkippedRow
from cc_train.data.sources import DataError, parse_columns, parse_sources
from cc_train.report.tables import plain_table

PERCENTILES = (50, 90, 99, 100)
# From which probability another language than `lang` is a suspicion: names and numbers look like many languages.
SURE = 0.95
_EXAMPLES = 5


@dataclass
class Findings:
    """What is in the rows.

    Args:
        rows: usable ones by language and task; a task without a name is "".
        lengths: of ``instruction``, ``instruction_en`` and ``output``: percentile by name, in ``unit``.
        unit: ``characters``, or ``tokens`` of the model's tokenizer.
        truncated: prompts that lose their beginning.
        dropped: names of the rows that are not used, by reason.
        duplicates: names of rows that another one equals.
        suspects: names of rows that do not look like a pair, by what is wrong.
        unconnected: whether all rows are in English, on which a connection cannot be trained.
    """

    unit: str
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: dict[str, dict[str, int]] = field(default_factory=dict)
    truncated: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    suspects: dict[str, list[str]] = field(default_factory=dict)
    unconnected: bool = False

    @property
    def clean(self) -> bool:
        """Whether every row is used, none is suspicious and some can be connected; a cut prompt is no finding."""
        return not (self.dropped or self.duplicates or self.suspects or self.unconnected)


def check_rows(
    rows: Sequence[Row],
    skipped: Iterable[SkippedRow],
    encoder: ChatEncoder | None = None,
    max_length: int = 1024,
    connects: bool = True,
) -> Findings:
    """Look at rows that could be read.

    Args:
        rows: those that could.
        skipped: those that could not.
        encoder: of the model to train, to count tokens; None to count characters.
        max_length: most tokens of prompt and answer.
        connects: whether a connection is trained on them.
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
    findings.suspects = _suspects(rows)
    findings.unconnected = connects and bool(rows) and not any(row.connected for row in rows)
    findings.dropped = dict(dropped)
    return findings


def _check_tokens(
    rows: Sequence[Row], encoder: ChatEncoder, max_length: int, findings: Findings, dropped: dict[str, list[str]]
) -> list[Row]:
    """Lengths in tokens, what is truncated and what is dropped; gives the rows that are used."""
    whole, unusable = encode_rows(rows, encoder, sys.maxsize)
    by_row = {id(example.row): example for example in whole}
    used, too_long = encode_rows([example.row for example in whole], encoder, max_length)
    for row in [*unusable, *too_long]:
        dropped[row.reason].append(f"{row.file}:{row.line}")
    for example in used:
        before = by_row[id(example.row)]
        if len(example.prompt) < len(before.prompt) or len(example.english) < len(before.english):
            findings.truncated.append(example.row.name)
    lengths = {
        "instruction": [len(example.prompt) for example in whole],
        "instruction_en": [len(example.english) for example in whole if len(example.english)],
        "output": [len(example.answer) for example in whole],
    }
    findings.lengths = {name: _percentiles(values) for name, values in lengths.items()}
    return [example.row for example in used]


def _percentiles(lengths: list[int]) -> dict[str, int]:
    if not lengths:
        return {}
    found = np.percentile(lengths, PERCENTILES, method="nearest")
    return {f"{p}%": int(value) for p, value in zip(PERCENTILES, found, strict=True)}


def _duplicates(rows: Sequence[Row]) -> list[str]:
    seen: set[tuple] = set()
    found = []
    for row in rows:
        key = (row.lang, row.messages or row.instruction, row.messages_en or row.instruction_en, row.output)
        if key in seen:
            found.append(row.name)
        seen.add(key)
    return found


def _suspects(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Rows whose texts do not look like a prompt and its English parallel."""
    detector = LanguageDetector(threshold=SURE)
    english: dict[str, str | None] = {}  # a parallel prompt comes once in every language
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.connected and row.instruction == row.instruction_en:
            found["instruction equals instruction_en"].append(row.name)
            continue
        if row.lang in SERVED_LANGUAGES:
            language = detector.detect(row.instruction).language
            if language not in (None, row.lang):
                found[f"lang is {row.lang}, and instruction looks like {language}"].append(row.name)
        if row.instruction_en not in english:
            english[row.instruction_en] = detector.detect(row.instruction_en).language
        if row.instruction_en != row.instruction and english[row.instruction_en] not in (None, ENGLISH):
            found[f"instruction_en looks like {english[row.instruction_en]}"].append(row.name)
    return dict(found)


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train data``."""
    parser = SuggestingParser(
        prog="cc-train data",
        description="Look at rows before training. Exit code: 0 when all are used and none is suspicious, 1 when some "
        "are dropped, doubled or suspicious, or all are in English, 2 when they cannot be read or none can be used.",
        epilog="example: cc-train data check PAIRS.jsonl.gz --model models/base",
    )
    commands = parser.add_subparsers(required=True, metavar="check")
    check = commands.add_parser("check", help="look at rows before training", description=parser.description)
    check.add_argument("files", nargs="+", metavar="FILE", help="Sources, as cc-train run's --data takes them.")
    check.add_argument("--columns", help="Columns under another name: lang=language,instruction=question.")
    check.add_argument("--model", help="Directory of the model to train: lengths are then in its tokens.")
    check.add_argument("--max-length", type=int, default=1024, help="Most tokens of prompt and answer (%(default)s).")
    check.add_argument(
        "--method", choices=("cc", "sft"), default="cc", help="As in cc-train run: for sft no row needs its English."
    )
    check.add_argument("--no-answers", action="store_true", help="Rows need no answer, as for cc-train fit.")
    check.add_argument("--json", action="store_true", help="Print everything as one JSON object.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train data``; 0 where nothing is found, 1 where something is, 2 where no row can be used."""
    options = make_parser().parse_args(arguments)
    try:
        encoder = _encoder(options.model) if options.model else None
        sources = [source.name for source in parse_sources(options.files)]
        rows, skipped = read_rows(
            sources,
            parse_columns(options.columns),
            answers=not options.no_answers,
            parallels=options.method == "cc",
        )
    except (DataError, ChatError) as error:
        print(f"cc-train data check: {error}", file=sys.stderr)
        return BAD_INPUT
    findings = check_rows(rows, skipped, encoder, options.max_length, options.method == "cc")
    if options.json:
        print(json.dumps(asdict(findings), ensure_ascii=False, indent=2))
    else:
        _print(findings, Console())
    if not findings.rows:
        print("cc-train data check: no row can be used", file=sys.stderr)
        return BAD_INPUT
    return 0 if findings.clean else FAILURE


def _encoder(model: str) -> ChatEncoder:
    from transformers import AutoTokenizer

    try:
        return ChatEncoder(AutoTokenizer.from_pretrained(model))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"--model {model}: holds no tokenizer: {' '.join(str(error).split())}") from error


def _print(findings: Findings, console: Console) -> None:
    tasks = sorted({task for counts in findings.rows.values() for task in counts})
    named = [task or "no task" for task in tasks]
    table = plain_table("rows", ["", "all", *(named if tasks != [""] else [])])
    totals: Counter[str] = sum((Counter(counts) for counts in findings.rows.values()), Counter())
    for language, counts in [("all", dict(totals)), *findings.rows.items()]:
        cells = [str(counts.get(task, "")) for task in tasks] if tasks != [""] else []
        table.add_row(language, str(sum(counts.values())), *cells)
    console.print(table)
    heads = [f"{p}%" for p in PERCENTILES]
    table = plain_table(f"{findings.unit}, by percentile", ["", *heads])
    for name, lengths in findings.lengths.items():
        table.add_row(name, *(str(lengths.get(head, "-")) for head in heads))
    console.print(table)
    problems: dict[str, Any] = {f"dropped: {reason}": names for reason, names in findings.dropped.items()}
    if findings.duplicates:
        problems["the same as an earlier row"] = findings.duplicates
    problems |= {f"suspicious: {what}": names for what, names in findings.suspects.items()}
    if findings.truncated:
        problems["the prompt loses its beginning"] = findings.truncated
    for what, names in sorted(problems.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
        console.print(f"{len(names):>7} {escape(what)}", highlight=False)
        console.print(f"        {escape(', '.join(names[:_EXAMPLES]))}{more}", highlight=False, style="dim")
    if findings.unconnected:
        console.print("All rows are in English, and a connection is for other languages: add rows in them.")
    elif not problems:
        console.print("Every row is used, and none is suspicious.")
