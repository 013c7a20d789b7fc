"""``cc-train report``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser
from cc_train.report.facts import RUN_FILE
from cc_train.report.model_card import CARD_FILE, write_card
from cc_train.report.page import REPORT_FILE, ReportError, write_report


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train report``."""
    parser = SuggestingParser(
        prog="cc-train report",
        description=f"Write {REPORT_FILE} and its pictures again, and {CARD_FILE} where there is none.",
        epilog="example: cc-train report outputs/mine",
    )
    parser.add_argument("directory", type=Path, help="What cc-train run or fit wrote.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train report``."""
    directory = make_parser().parse_args(arguments).directory
    try:
        print(write_report(directory))
        if (directory / RUN_FILE).exists() and not (directory / CARD_FILE).exists():
            print(write_card(directory))
    except ReportError as error:
        print(f"cc-train report: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"cc-train report: {directory}: cannot be written ({error.strerror or error})", file=sys.stderr)
        return BAD_INPUT
    return 0
