"""``cc-train data check``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from cc_core.hub import UnknownModelError, local_directory
from cc_core.terminal.exit_codes import BAD_INPUT, FAILURE
from cc_core.terminal.text import counted, one_line
from cc_core.terminal.usage import SuggestingParser, at_least
from cc_train.config.data import LEAST_LENGTH
from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.check import PERCENTILES, Findings, check_rows
from cc_train.data.reading import read_rows
from cc_train.data.records import DataError
from cc_train.data.sources import parse_columns, parse_sources
from cc_train.data.template_options import TemplateOptionError, parse_options
from cc_train.data.token_counts import RATIO
from cc_train.terminal.tables import plain_table

_EXAMPLES = 5  # rows named for each problem


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
    check.add_argument(
        "--model", help="The model to train, a directory or an id of the hub: lengths are then in its tokens."
    )
    check.add_argument("--chat-template-kwargs", metavar="JSON", help="As in cc-train run; needs --model.")
    check.add_argument(
        "--max-length",
        type=at_least(LEAST_LENGTH),
        default=1024,
        metavar="TOKENS",
        help="Most tokens of prompt and answer (%(default)s).",
    )
    check.add_argument(
        "--method", choices=("cc", "sft"), default="cc", help="As in cc-train run: for sft no row needs its English."
    )
    check.add_argument(
        "--train-turns", choices=("last", "all"), default="last", help="As in cc-train run: which answers are trained."
    )
    check.add_argument("--no-answers", action="store_true", help="Rows need no answer, as for cc-train fit.")
    check.add_argument("--json", action="store_true", help="Print everything as one JSON object.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train data``. Exit code 0 if nothing is found, 1 if something is, 2 if no row can be used."""
    options = make_parser().parse_args(arguments)
    try:
        encoder = _encoder(options.model, options.chat_template_kwargs)
        sources = [source.name for source in parse_sources(options.files)]
        unused: Counter[str] = Counter()
        rows, skipped = read_rows(
            sources,
            parse_columns(options.columns),
            answers=not options.no_answers,
            parallels=options.method == "cc",
            all_turns=options.train_turns == "all",
            unused=unused,
        )
        findings = check_rows(rows, skipped, encoder, options.max_length, options.method == "cc", unused)
    except (DataError, ChatError) as error:
        print(f"cc-train data check: {error}", file=sys.stderr)
        return BAD_INPUT
    if options.json:
        print(json.dumps(asdict(findings), ensure_ascii=False, indent=2))
    else:
        _print(findings, Console())
    if not findings.rows:
        reason = "" if skipped else ": there is none"
        print(f"cc-train data check: no row of {', '.join(sources)} can be used{reason}", file=sys.stderr)
        return BAD_INPUT
    return 0 if findings.clean else FAILURE


def _encoder(model: str | None, template_options: str | None) -> ChatEncoder | None:
    from transformers import AutoTokenizer

    if model is None:
        if template_options is not None:
            raise DataError("--chat-template-kwargs needs --model, whose template has the options")
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(local_directory(model))
        return ChatEncoder(tokenizer, options=parse_options(template_options))
    except TemplateOptionError as error:
        raise DataError(f"--chat-template-kwargs: {error}") from error
    except UnknownModelError as error:
        raise DataError(f"--model {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"--model {model}: holds no tokenizer: {one_line(error)}") from error


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
    _print_languages(findings, console)
    problems: dict[str, Any] = {f"dropped: {reason}": names for reason, names in findings.dropped.items()}
    if findings.duplicates:
        problems["the same as an earlier row"] = findings.duplicates
    problems |= {f"suspicious: {what}": names for what, names in findings.suspects.items()}
    if findings.truncated:
        problems["the prompt loses its beginning"] = findings.truncated
    for what, names in sorted(problems.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
        console.print(f"{len(names):>7} {escape(what)}", highlight=False, soft_wrap=True)
        # The terminal may wrap a row's name; a break of ours inside a path could not be copied.
        examples = f"        {escape(', '.join(names[:_EXAMPLES]))}{more}"
        console.print(examples, highlight=False, soft_wrap=True, style="dim")
    if findings.unconnected:
        console.print("All rows are in English, and a connection is for other languages: add rows in them.")
    elif not problems and findings.rows:
        console.print("Every row is used, and none is suspicious.")


def _print_languages(findings: Findings, console: Console) -> None:
    """The tokens of each language, the languages of its answers, and what is not used."""
    if findings.tokens:
        names = ("prompts", "answers", RATIO)
        table = plain_table("tokens, by language", ["", *names])
        for language, counts in findings.tokens.items():
            table.add_row(language, *(str(counts.get(name, "-")) for name in names))
        console.print(table)
    foreign = {
        language: ", ".join(f"{name} {n}" for name, n in counts.items() if name and name != language)
        for language, counts in findings.answer_languages.items()
    }
    for language, others in foreign.items():
        if others:
            of = sum(findings.answer_languages[language].values())
            console.print(
                f"{language}: of {counted(of, 'answer')}, look like another language: {others}", soft_wrap=True
            )
    for column, records in findings.unused.items():
        console.print(
            f"column {escape(column)!r} is not used ({counted(records, 'row has it', 'rows have it')})", soft_wrap=True
        )
