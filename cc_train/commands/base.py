"""``cc-train base``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser
from cc_train.model.base_models import DEFAULT, SOURCES, BaseModelError, make_base


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train base``."""
    parser = SuggestingParser(
        prog="cc-train base",
        description="Make a small base model from an installed package: an ordinary Hugging Face checkpoint, bf16.",
        epilog=f"example: cc-train base --output models/{DEFAULT}",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the checkpoint's directory")
    parser.add_argument("--name", choices=sorted(SOURCES), default=DEFAULT, help=f"which model (default: {DEFAULT})")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train base``; 0 when the checkpoint is there, 2 when it cannot be made, with one line on stderr."""
    options = make_parser().parse_args(arguments)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        made = make_base(options.name, options.output)
    except BaseModelError as error:
        print(f"cc-train base: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"{options.name}: {'written to' if made else 'already in'} {options.output}")
    return 0
