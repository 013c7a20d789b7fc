"""The ``cc-serve`` command. Each of its commands is a module beside this one, which is named after it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cc_core.terminal.usage import SuggestingParser
from cc_serve.commands import completion, doctor, key, route, serve
from cc_serve.commands.command import refuse
from cc_serve.process.garbage import collect_rarely
from cc_serve.process.gpu import NoGpuError
from cc_serve.process.phases import in_a_start

if in_a_start():
    collect_rarely()  # this is a process of the engine: it begins with this module, and imports vLLM anew


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 (it failed) or 2 (for the caller to correct)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    try:
        if arguments[:1] == ["serve"]:
            serve.answer_before_parsing(arguments[1:], parser)
        options = parser.parse_args(arguments)
        exit_code: int = options.run(options)
    except NoGpuError as error:
        return refuse(error)
    return exit_code


def make_parser(vllm_flags: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command.

    Args:
        vllm_flags: vLLM's parser, where each of its flags is to be listed under ``serve``.
    """
    parser: argparse.ArgumentParser = SuggestingParser(
        "cc-serve",
        description="Serve CC-Tuned language models on vLLM.",
        epilog=f"{serve.EXIT_CODES}\n\nexample: cc-serve doctor outputs/demo && cc-serve serve outputs/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('cc-serve')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve.add_parser(commands, vllm_flags)
    doctor.add_parser(commands)
    route.add_parser(commands)
    key.add_parser(commands)
    completion.add_parser(commands)
    return parser
