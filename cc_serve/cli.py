"""The ``cc-serve`` command."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from cc_serve.configuration import CONFIGURATION_FLAG, load_configuration
from cc_serve.keys import KEY_NAME, hash_key, new_key, take_environment_keys
from cc_serve.routing import Router, default_router
from cc_serve.settings import LiveSettings

FAILURE = 1
USAGE_ERROR = 2
HELP = ("-h", "--help")
_ROUTE_FIELDS = ("language", "confidence", "connection", "rule", "scores")

_SERVE_EPILOG = """\
Every flag of `vllm serve` is accepted, such as --port, --max-model-len or --tensor-parallel-size. List them with
`cc-serve serve --help=all`, or search them with --help=WORD.

Requests may carry "cc_connection" beside the OpenAI fields: "auto" (the default: detect the language), "off",
"global" or a language code. Responses say what was done in the headers X-CC-Language and X-CC-Connection.

--cc-config FILE reads routing, API keys and limits from a YAML file, and again on SIGHUP: docs/operations.md.

On SIGTERM, running requests are finished, for up to --shutdown-timeout seconds (30 unless set); new ones get 503."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 (the engine died) or 2 (for the caller to correct)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    if arguments[:1] == ["serve"] and any(argument.startswith("--help=") for argument in arguments):
        from cc_serve.api.arguments import parse_arguments

        parse_arguments(arguments[1:])  # prints vLLM's own help, and exits
    if arguments[:1] == ["serve"] and arguments[1:] and arguments[1].startswith("-") and arguments[1] not in HELP:
        parser.error("CHECKPOINT comes first: cc-serve serve CHECKPOINT [vLLM flags]")
    options = parser.parse_args(arguments)
    if options.command == "serve":
        return _serve(options.checkpoint, options.vllm_flags)
    if options.command == "key":
        return _new_key(options.name)
    return _route(options.checkpoint, sys.stdin.buffer, sys.stdout)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cc-serve", description="Serve CC-Tuned language models on vLLM.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="start the OpenAI-compatible server for a CC-Tuned checkpoint",
        usage="cc-serve serve CHECKPOINT [--cc-config FILE] [vLLM flags]",
        description="Start the OpenAI-compatible server for a CC-Tuned checkpoint.",
        epilog=_SERVE_EPILOG,
        formatter_class=raw,
    )
    serve.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="directory of the checkpoint")
    serve.add_argument("vllm_flags", nargs=argparse.REMAINDER, metavar="vLLM flags", help="see below")
    key = commands.add_parser("key", help="make an API key", description="API keys; see docs/operations.md.")
    make = key.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "new", help="print a new key, and what to write into the configuration file for it"
    )
    make.add_argument("name", metavar="NAME", help="what limits and the operator know the key by")
    route = commands.add_parser(
        "route",
        help="say how prompts would be routed, without an engine",
        description=f"Read one JSON string a line, print an object of {', '.join(_ROUTE_FIELDS)} a line.",
        epilog='An undecided language is null; its prompts, like English ones, go plain: "off".',
    )
    route.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help='route as this checkpoint would; without it, all served languages have the connection "global"',
    )
    return parser


def _serve(checkpoint: Path, vllm_flags: list[str]) -> int:
    # Before vLLM is even imported: a checkpoint that cannot be served should not take a minute to say so.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(CONFIGURATION_FLAG, dest="path", type=Path)
    try:
        path = first.parse_known_args(vllm_flags)[0].path
        if path is not None:
            load_configuration(path)  # before torch is imported for the checkpoint, too
        settings = LiveSettings(path, _router_of(checkpoint), take_environment_keys(os.environ))
    except ValueError as error:
        return _refuse(error)
    from cc_serve.api.server import EngineFailedError, StartError, serve

    try:
        serve(checkpoint, settings, vllm_flags)
    except StartError as error:
        return _refuse(error)
    except EngineFailedError as error:
        print(f"cc-serve: {error}", file=sys.stderr)
        return FAILURE
    return 0


def _new_key(name: str) -> int:
    if not re.fullmatch(KEY_NAME, name):
        return _refuse(f"{name!r} is no name for a key: use up to 64 of A-Z a-z 0-9 . _ -")
    key = new_key()
    print(f"# For the client, and nowhere else: {key}\nkeys:\n  {name}:\n    sha256: {hash_key(key)}")
    return 0


def _route(checkpoint: Path | None, lines: Iterable[bytes], output: TextIO) -> int:
    try:
        router = _router_of(checkpoint) if checkpoint else default_router()
    except ValueError as error:
        return _refuse(error)
    status = 0
    for number, line in enumerate(lines, start=1):
        try:
            text = json.loads(line)
        except (ValueError, RecursionError):
            text = None
        if isinstance(text, str):
            route = asdict(router.explain([text]))
            print(json.dumps({field: route[field] for field in _ROUTE_FIELDS}), file=output, flush=True)
        else:
            status = _refuse(f'line {number}: expected one JSON string, such as "Guten Tag"')
    return status


def _router_of(checkpoint: Path) -> Router:
    """The router of a checkpoint; raises `cc_train.checkpoint.CheckpointError`, a ValueError."""
    from cc_train.checkpoint import load_connection

    connection, config = load_connection(checkpoint)
    return Router(connection.names, config.languages)


def _refuse(problem: object) -> int:
    print(f"cc-serve: {problem}", file=sys.stderr)
    return USAGE_ERROR
