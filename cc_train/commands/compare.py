"""``cc-train compare``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser, at_least
from cc_train.evaluation.compare import compare
from cc_train.evaluation.items import EvaluationError
from cc_train.evaluation.output import comparison_json, comparison_markdown, read_system, write_output
from cc_train.evaluation.plot import plot_comparison
from cc_train.evaluation.scores import load_scores


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train compare``."""
    parser = SuggestingParser(
        "cc-train compare",
        description="Compare two evaluations on the rows that both have: docs/evaluation.md.",
        epilog="example: cc-train compare outputs/plain outputs/connected --output outputs/comparison",
    )
    parser.add_argument("first", type=Path, metavar="FIRST", help="the --output of one cc-train eval: the baseline")
    parser.add_argument("second", type=Path, metavar="SECOND", help="that of another; a gain is second minus first")
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write comparison.json, .md and .png there")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of the bootstrap (default: 0)")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train compare``: 0 when done, 2 for bad input."""
    options = make_parser().parse_args(arguments)
    try:
        comparison = compare(load_scores(options.first), load_scores(options.second), options.seed)
        systems = {
            f"{order}, {path}": read_system(path)
            for order, path in (("first", options.first), ("second", options.second))
        }
        text = comparison_markdown(systems, comparison)
        if options.output:
            write_output(options.output, "comparison", comparison_json(systems, comparison, options.seed), text)
            plot_comparison(comparison, options.output / "comparison.png")
    except (EvaluationError, OSError) as error:
        print(f"cc-train compare: {error}", file=sys.stderr)
        return BAD_INPUT
    print(text, end="")
    return 0
