"""``cc-train attach``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.checkpoint import CheckpointError
from cc_core.hub import UnknownModelError, local_directory
from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser
from cc_train.model.standalone import attach
from cc_train.workspace import OutputError


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train attach``."""
    parser = SuggestingParser(
        prog="cc-train attach",
        description="Put a connection from `cc-train run --tuning connection` on the base model that it was trained "
        "on: a checkpoint to serve.",
        epilog="example: cc-train attach --model models/base --connection outputs/connection --output outputs/mine",
    )
    parser.add_argument("--model", type=Path, required=True, help="Directory of the base model, or its id on the hub.")
    parser.add_argument("--connection", type=Path, required=True, help="Directory of the connection.")
    parser.add_argument("--output", type=Path, required=True, help="Directory of the checkpoint; must not hold any.")
    parser.add_argument("--overwrite", action="store_true", help="Replace what --output holds.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train attach``."""
    options = make_parser().parse_args(arguments)
    try:
        output = attach(local_directory(options.model), options.connection, options.output, overwrite=options.overwrite)
    except (CheckpointError, OutputError, UnknownModelError) as error:
        print(f"cc-train attach: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"checkpoint: {output}\nserve it:   cc-serve serve {output}")
    return 0
