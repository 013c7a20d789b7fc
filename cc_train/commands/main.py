"""``cc-train``: one command a word, each in a module of its name with ``make_parser`` and ``main``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cc_core.terminal.exit_codes import BAD_INPUT
from cc_core.terminal.usage import suggestion
from cc_train.commands.extras import not_installed

COMMANDS = {
    "attach": "put a connection that was trained alone on its base model",
    "base": "make a small base model from an installed package",
    "compare": "compare two evaluations on the same rows",
    "data": "check rows before training: data check FILES",
    "eval": "evaluate a served model or a checkpoint",
    "completion": "print a shell's completion",
    "fit": "fit a checkpoint's Transform Matrices again",
    "headroom": "tell before training whether there is anything to gain",
    "push": "push a finished checkpoint to the model hub",
    "report": "write a run's report again",
    "run": "train a model with the connection and fit it",
}
_USAGE = "usage: cc-train COMMAND [options]\n\ncommands:\n"
_EPILOG = """
cc-train COMMAND --help lists a command's options; cc-train --version prints the version.

exit codes: 0 done; 1 `data check` found something, or the endpoint of `eval` gave up; 2 for you to
correct, with one line that says what; 130 or 143 stopped by Ctrl-C or SIGTERM, with the command
that goes on

example:
  cc-train base --output models/base
  cc-train run --model models/base --data PAIRS.jsonl --output outputs/mine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 2 for bad input, with one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE + "".join(f"  {name:<12} {text}\n" for name, text in COMMANDS.items()), end="")
        print(_EPILOG, end="")
        return 0 if given else BAD_INPUT
    if given == ["--version"]:
        print(f"cc-train {version('cc-serve')}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        hint = suggestion(name, COMMANDS) or f"; commands: {', '.join(COMMANDS)}"
        print(f"cc-train: unknown command {name!r}{hint}", file=sys.stderr)
        return BAD_INPUT
    try:
        code: int = command(name).main(rest)
    except ImportError:
        if missing := not_installed("train"):
            print(f'cc-train: {", ".join(missing)} not installed: pip install "cc-serve[train]"', file=sys.stderr)
            return BAD_INPUT
        raise
    return code


def command(name: str) -> Any:
    """A command's module, imported when it is needed, so that --help is instant."""
    return importlib.import_module(f"cc_train.commands.{name}")


if __name__ == "__main__":
    sys.exit(main())
