"""``cc-train attach``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.checkpoint import CheckpointError
from cc_core.hub import UnknownModelError, local_directory
from cc_core.names import FIT_FILE
from cc_core.standalone import is_alone
from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser
from cc_train.model.quantized import attach_to_quantized, is_quantized
from cc_train.model.standalone import attach
from cc_train.report.facts import RUN_FILE
from cc_train.report.page import STATE_FILE, write_record
from cc_train.workspace import OutputError


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train attach``."""
    parser = SuggestingParser(
        prog="cc-train attach",
        description="Put a connection from `cc-train run --tuning connection` on the base model that it was trained "
        "on, or that of a checkpoint on a quantised copy of it: a checkpoint to serve.",
        epilog="example: cc-train attach --model models/base --connection outputs/connection --output outputs/mine",
    )
    parser.add_argument("--model", type=Path, required=True, help="Directory of the base model, or its id on the hub.")
    parser.add_argument(
        "--connection",
        type=Path,
        required=True,
        help="Directory of the connection, or of the checkpoint that was quantised.",
    )
    parser.add_argument("--output", type=Path, required=True, help="Directory of the checkpoint; must not hold any.")
    parser.add_argument("--overwrite", action="store_true", help="Replace what --output holds.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train attach``."""
    options = make_parser().parse_args(arguments)
    try:
        model = local_directory(options.model)
        own = is_alone(options.connection) or not is_quantized(model)
        output = (attach if own else attach_to_quantized)(
            model, options.connection, options.output, overwrite=options.overwrite
        )
    except (CheckpointError, OutputError, UnknownModelError) as error:
        print(f"cc-train attach: {error}", file=sys.stderr)
        return BAD_INPUT
    _write_record(options.connection, output)
    print(f"checkpoint: {output}\nserve it:   cc-serve serve {output}")
    return 0


def _write_record(connection: Path, output: Path) -> None:
    """Let ``output`` tell of the run that made the connection. What it has so far is the base's own record."""
    if not (connection / RUN_FILE).is_file():
        return
    for name in (RUN_FILE, FIT_FILE, STATE_FILE):
        (output / name).unlink(missing_ok=True)
        if (connection / name).is_file():
            shutil.copyfile(connection / name, output / name)
    write_record(output, None, output.name, lambda text: print(text, file=sys.stderr))
