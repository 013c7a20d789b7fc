"""``cc-train headroom``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from cc_core.architectures import UnsupportedArchitectureError
from cc_core.checkpoint import CheckpointError
from cc_core.files import json_bytes
from cc_core.names import CONFIG_FILE, ENGLISH, OFF
from cc_core.terminal.exit_codes import BAD_INPUT, INTERRUPTED
from cc_core.terminal.text import counted
from cc_core.terminal.usage import SuggestingParser, at_least, positive
from cc_train.bootstrap import Interval
from cc_train.config.parser import UsageError
from cc_train.data.template_options import TemplateOptionError, parse_options
from cc_train.evaluation.headroom import Headroom, measure_headroom
from cc_train.evaluation.headroom_rows import parallel_rows, rows_to_compare
from cc_train.evaluation.items import EvaluationError, read_rows
from cc_train.evaluation.local import LocalCheckpoint
from cc_train.evaluation.tasks import TASKS
from cc_train.fit.least_squares import FitError
from cc_train.model.files import base_directory
from cc_train.terminal.progress import progress
from cc_train.terminal.tables import plain_table


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train headroom``."""
    parser = SuggestingParser(
        "cc-train headroom",
        description="Tell before training whether there is anything to gain: does the model know more in English?",
        epilog="example: cc-train headroom --model models/base --data ROWS.jsonl --task-of-rows mkqa",
    )
    what = "the model, before or after training: a directory, or an id of the hub"
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL", help=what)
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="FILE", help="rows in English and other languages"
    )
    parser.add_argument(
        "--task-of-rows", choices=TASKS, metavar="TASK", help=f"how rows without a task are scored: {', '.join(TASKS)}"
    )
    parser.add_argument("--languages", nargs="+", default=[], metavar="CODE", help="only these, and en")
    parser.add_argument(
        "--limit", type=positive, default=100, metavar="N", help="items of each task in each language (default: 100)"
    )
    parser.add_argument("--max-tokens", type=positive, default=40, metavar="N", help="of an answer (default: 40)")
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="rows at once (default: 8)")
    parser.add_argument(
        "--chat-template-kwargs", metavar="JSON", help="options of the chat template, as in cc-train run"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of the choice of items (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train headroom``: 0 when done, 2 for bad input, 130 when interrupted."""
    options = make_parser().parse_args(arguments)
    try:
        directory = base_directory(str(options.model))
        if not (directory / CONFIG_FILE).is_file():
            raise EvaluationError(f"--model {options.model}: no {CONFIG_FILE} there; name a model's directory")
        if options.json:
            _check_writable(options.json)
        read = parallel_rows(read_rows(options.data, options.task_of_rows))
        rows = rows_to_compare(read, options.languages, options.limit, options.seed)
        without = [row.lang for row in read if not row.english and row.lang in (options.languages or [row.lang])]
        if without:
            _say(
                f"left out: {counted(len(without), 'row')} without 'instruction_en' ({', '.join(sorted(set(without)))})"
            )
        template = parse_options(options.chat_template_kwargs)
        model = LocalCheckpoint(
            directory, OFF, options.max_tokens, options.batch_size, template=template, option="--model"
        )
        with progress("answering", sum(2 if row.lang != ENGLISH else 1 for row in rows)) as advance:
            found = measure_headroom(model, rows, lambda: advance(1))
        unmeasured = Counter(row.lang for row in rows if row.lang != ENGLISH)
        unmeasured -= Counter({language: one.rows for language, one in found.items()})
        if unmeasured:
            by_language = ", ".join(f"{language} {count}" for language, count in sorted(unmeasured.items()))
            _say(f"left out: {counted(unmeasured.total(), 'row')} too long for the model's context ({by_language})")
        _print(found)
        if options.json:
            _write(options.json, found)
    except KeyboardInterrupt:
        print("cc-train headroom: interrupted", file=sys.stderr)
        return INTERRUPTED
    except TemplateOptionError as error:
        _say(f"--chat-template-kwargs: {error}")
        return BAD_INPUT
    except (UsageError, EvaluationError, CheckpointError, UnsupportedArchitectureError, FitError, OSError) as error:
        _say(str(error))
        return BAD_INPUT
    return 0


def _check_writable(path: Path) -> None:
    """Fail before hours of measuring, not after them."""
    if path.is_dir():
        raise EvaluationError(f"--json {path}: is a directory; name a file")
    if not path.parent.is_dir():
        raise EvaluationError(f"--json {path}: there is no directory {path.parent}; make it, or name another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise EvaluationError(f"--json {path}: may not be written; name another file")


def _write(path: Path, found: dict[str, Headroom]) -> None:
    try:
        path.write_bytes(json_bytes({language: asdict(one) for language, one in found.items()}))
    except OSError as error:
        raise EvaluationError(f"--json {path}: cannot be written ({error.strerror})") from error


def _say(text: str) -> None:
    print(f"cc-train headroom: {text}", file=sys.stderr)


def _print(found: dict[str, Headroom]) -> None:
    table = plain_table(
        "headroom: the prompt alone against ...", ["", "rows", "measure", "alone", "so", "gain"], ("", "measure")
    )
    for language, one in found.items():
        for measure, rows, so, gain, gain_is in (
            ("loss, English above it", one.rows, one.loss_beside, one.loss_gain, "less"),
            ("loss, in English", one.rows_english, one.loss_english, one.loss_english_gain, "less"),
            ("score, English above it", one.rows, one.score_beside, one.score_gain, "more"),
            ("score, in English", one.rows_english, one.english, one.english_lead, "more"),
        ):
            if so is not None and gain is not None:  # the prompt alone: of the same rows
                alone = so + gain.mean if gain_is == "less" else so - gain.mean
                table.add_row(language, str(rows), measure, f"{alone:.3f}", f"{so:.3f}", _interval(gain, "+.3f"))
    console = Console()
    console.print(table)
    for language, one in found.items():
        text = f"{language}: {one.expectation}."
        if one.distance is not None:
            layers = " ".join(f"{distance:.2f}" for distance in one.distance)
            mean = f"; mean {_interval(one.distance_mean, '.2f')}" if one.distance_mean else ""
            text += f"\n    distance of its activations to English ones, by layer: {layers}{mean}"
        console.print(text, soft_wrap=True, highlight=False)
    last = (
        "the distance of activations is not known: it takes two English prompts or more"
        if any(one.distance is None for one in found.values())
        else "1 is as far as English prompts are from their mean"
    )
    console.print(f"    {last}", soft_wrap=True, highlight=False)


def _interval(found: Interval, form: str) -> str:
    ends = "" if found.low is None else f" ({found.low:{form}} to {found.high:{form}})"
    return f"{found.mean:{form}}{ends}"
