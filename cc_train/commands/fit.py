"""``cc-train fit``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cc_core.checkpoint import CheckpointError
from cc_core.terminal.exit_codes import BAD_INPUT, INTERRUPTED
from cc_train.config.fit import FitArguments
from cc_train.config.parser import OptionParser, UsageError, fill
from cc_train.config.refit import RefitArguments
from cc_train.data.chat import ChatError
from cc_train.data.records import DataError
from cc_train.fit.fitting import Fitted
from cc_train.fit.least_squares import FitError
from cc_train.fit.refit import refit
from cc_train.terminal.notes import note
from cc_train.terminal.tables import score_table
from cc_train.workspace import OutputError


def make_parser() -> OptionParser:
    """The parser of ``cc-train fit``."""
    parser = OptionParser(
        [RefitArguments, FitArguments],
        "cc-train fit",
        usage="%(prog)s CHECKPOINT --data FILE [options]",
        description="Fit the Transform Matrices of a checkpoint again.",
        epilog="example: cc-train fit outputs/mine --data PAIRS.jsonl.gz",
    )
    parser.add_argument("checkpoint", type=Path, help="Directory of a CC-Tuned checkpoint.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train fit``."""
    try:
        options = vars(make_parser().parse(arguments))
        fitted, output = refit(options["checkpoint"], fill(RefitArguments, options), fill(FitArguments, options), note)
    except (UsageError, CheckpointError, DataError, ChatError) as error:
        print(f"cc-train fit: {error}", file=sys.stderr)
        return BAD_INPUT
    except (OutputError, FitError) as error:
        print(f"cc-train fit: {error}; the checkpoint is as it was", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("cc-train fit: interrupted; the checkpoint is as it was", file=sys.stderr)
        return INTERRUPTED
    Console().print(score_table(_title(fitted), "pairs", fitted.facts["fitted_pairs"], fitted.facts["scores"]))
    print(f"checkpoint: {output}")
    return 0


def _title(fitted: Fitted) -> str:
    shrinkage = fitted.facts["shrinkage"]
    own = "one matrix for all languages"
    if shrinkage is not None:
        own = f"each language's matrix is pulled towards it with the strength of {shrinkage:.3g} pairs"
    return f"global matrix with ridge {fitted.facts['ridge']:.3g}, {own}"
