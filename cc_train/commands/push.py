"""``cc-train push``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import SuggestingParser
from cc_train.config.parser import UsageError
from cc_train.model.hub import PushError, Repository, require_finished


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train push``."""
    parser = SuggestingParser(
        prog="cc-train push",
        description="Push a finished checkpoint to the model hub, with its card. HF_TOKEN or `hf auth login` says who "
        "you are, and HF_ENDPOINT which hub.",
        epilog="example: cc-train push outputs/mine someone/mine",
    )
    parser.add_argument("checkpoint", type=Path, help="Directory that cc-train run wrote.")
    parser.add_argument("repository", help="Its name on the hub: OWNER/NAME.")
    parser.add_argument("--private", action="store_true", default=None, help="Make the repository private.")
    parser.add_argument("--revision", help="The branch to push to; made if it is not there.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train push``."""
    options = make_parser().parse_args(arguments)
    try:
        require_finished(options.checkpoint)
        repository = Repository(options.repository, private=options.private, revision=options.revision).make()
        print(f"pushed: {repository.push(options.checkpoint)}")
    except (UsageError, PushError) as error:
        print(f"cc-train push: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0
