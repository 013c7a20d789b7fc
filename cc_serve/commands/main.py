"""The ``cc-serve`` command: one subcommand a word."""

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

from cc_core.terminal.exit_codes import BAD_INPUT, FAILURE, INTERRUPTED
from cc_serve.commands.parser import ROUTE_FIELDS, make_parser
from cc_serve.config.configuration import CONFIGURATION_FLAG, load_configuration
from cc_serve.config.keys import KEY_NAME, hash_key, new_key, take_environment_keys
from cc_serve.config.settings import LiveSettings
from cc_serve.process.checked import checked_description
from cc_serve.process.logs import VERBOSE, set_up_logs
from cc_serve.process.startup import (
    CHECKPOINT,
    IMPORT,
    StartProgress,
    collect_rarely,
    enter_phase,
    in_a_start,
    ready_message,
)
from cc_serve.routing.router import Router, default_router

if in_a_start():
    collect_rarely()  # one of the engine's processes, which begin with this module and import vLLM anew

HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 (it failed) or 2 (for the caller to correct)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    if arguments[:1] == ["serve"] and any(argument.startswith("--help=") for argument in arguments):
        from cc_serve.api.arguments import parse_arguments

        parse_arguments(arguments[1:])  # prints vLLM's own help, and exits
    if arguments[:1] == ["serve"] and arguments[1:] and arguments[1].startswith("-") and arguments[1] not in HELP:
        parser.error("CHECKPOINT comes first: cc-serve serve CHECKPOINT [vLLM flags]")
    options = parser.parse_args(arguments)
    match options.command:
        case "serve":
            return _serve(options.checkpoint, options.vllm_flags)
        case "doctor":
            return _doctor(options)
        case "key":
            return _new_key(options.name)
        case "completion":
            return _completion(options.shell)
        case _:
            return _route(options.checkpoint, sys.stdin.buffer, sys.stdout)


def _serve(checkpoint: Path, flags: list[str]) -> int:
    verbose = any(flag in VERBOSE for flag in flags)
    # Where vLLM's own lines are asked for, they come between.
    with StartProgress(live=False if verbose else None) as progress:
        try:
            return _start(checkpoint, [flag for flag in flags if flag not in VERBOSE], verbose, progress)
        except KeyboardInterrupt:
            progress.finish()
            print("cc-serve: interrupted before it was ready", file=sys.stderr)
            return INTERRUPTED


def _start(checkpoint: Path, vllm_flags: list[str], verbose: bool, progress: StartProgress) -> int:
    set_up_logs(verbose)
    collect_rarely()
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(CONFIGURATION_FLAG, dest="path", type=Path)
    try:
        path = first.parse_known_args(vllm_flags)[0].path
        if path is not None:
            load_configuration(path)
        # Before vLLM is even imported: a checkpoint that cannot be served should not take a minute to say so.
        enter_phase(CHECKPOINT)
        checked_description(checkpoint)
        settings = LiveSettings(path, Router.of(checkpoint), take_environment_keys(os.environ))
    except ValueError as error:
        progress.finish()
        return _refuse(error)
    enter_phase(IMPORT)
    from cc_serve.api.server import EngineFailedError, StartError, serve

    def on_ready(address: str, model: str, router: Router, playground: bool) -> None:
        message = ready_message(address, model, router.connected, progress.finish(), playground=playground)
        print(message, file=sys.stderr, flush=True)

    try:
        serve(checkpoint, settings, vllm_flags, verbose=verbose, on_ready=on_ready)
    except StartError as error:
        progress.finish()
        return _refuse(error)
    except EngineFailedError as error:
        print(f"cc-serve: {error}", file=sys.stderr)
        return FAILURE
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from cc_serve.commands.doctor import Status, examine, report

    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    checks = []
    for check in examine(options.checkpoint, options.host, options.port, options.cc_config):
        checks.append(check)
        if not options.json:
            print(report([check], as_json=False), flush=True)
    if options.json:
        print(report(checks, as_json=True))
    return FAILURE if any(check.status == Status.FAILED for check in checks) else 0


def _completion(shell: str) -> int:
    import shtab

    set_up_logs(verbose=False)
    from cc_serve.api.arguments import make_parser as make_vllm_parser

    print(shtab.complete(make_parser(make_vllm_parser()[1]), shell))
    return 0


def _new_key(name: str) -> int:
    if not re.fullmatch(KEY_NAME, name):
        return _refuse(f"{name!r} is no name for a key: use up to 64 of A-Z a-z 0-9 . _ -")
    key = new_key()
    print(f"# For the client, and nowhere else: {key}\nkeys:\n  {name}:\n    sha256: {hash_key(key)}")
    return 0


def _route(checkpoint: Path | None, lines: Iterable[bytes], output: TextIO) -> int:
    try:
        router = Router.of(checkpoint) if checkpoint else default_router()
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
            print(json.dumps({field: route[field] for field in ROUTE_FIELDS}), file=output, flush=True)
        else:
            status = _refuse(f'line {number}: expected one JSON string, such as "Guten Tag"')
    return status


def _refuse(problem: object) -> int:
    print(f"cc-serve: {problem}", file=sys.stderr)
    return BAD_INPUT
