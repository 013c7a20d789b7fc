"""``cc-serve doctor``: whether this machine can serve, and what to do if it cannot."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from cc_core.hub import UnknownModelError, local_directory
from cc_core.terminal.exit_codes import FAILURE
from cc_serve.commands import checks
from cc_serve.commands.checks import Check, Status
from cc_serve.commands.command import Commands, add_command
from cc_serve.config.configuration import CONFIGURATION_FLAG


def add_parser(commands: Commands) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "doctor",
        run,
        summary="check whether this machine can serve, and say what to do if it cannot",
        description="Check Python, processor, torch, vLLM and port, and with CHECKPOINT what it holds and how much\n"
        "memory it needs. Each failure says what to do.",
        example="cc-serve doctor outputs/demo --port 8001",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        metavar="CHECKPOINT",
        help="what is to be served: a directory, or an id of the hub",
    )
    parser.add_argument("--host", default="0.0.0.0", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="to listen on (default: %(default)s)")
    parser.add_argument(CONFIGURATION_FLAG, type=Path, metavar="FILE", help="check this configuration file, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def run(options: argparse.Namespace) -> int:
    """Print each check as soon as it is done, or all of them as JSON."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    done = []
    for check in examine(options.checkpoint, options.host, options.port, options.cc_config):
        done.append(check)
        if not options.json:
            print(lines_of(check), flush=True)
    if options.json:
        print(as_json(done))
    return FAILURE if any(check.status is Status.FAILED for check in done) else 0


def examine(checkpoint: Path | None, host: str, port: int, configuration: Path | None) -> Iterator[Check]:
    """Make the checks one after another, quick ones first.

    Args:
        checkpoint: what is to be served; None if there is no checkpoint yet.
        host: the host to listen on.
        port: the port to listen on.
        configuration: the file of ``--cc-config``; None without one.
    """
    yield checks.check_python()
    yield checks.check_torch()
    torch_works = checks.can_import("torch")
    can_compute = False
    if torch_works:
        processor = checks.check_cpu()
        yield processor
        can_compute = processor.status is not Status.FAILED
        found = checks.check_vllm()
        yield found
        if can_compute and found.status is not Status.FAILED:
            yield checks.check_runner()
        if can_compute:
            yield checks.check_compiler()
    yield checks.check_port(host, port)
    if configuration is not None:
        yield checks.check_configuration(configuration)
    if checkpoint is not None and torch_works:
        try:
            directory = local_directory(checkpoint)
        except UnknownModelError as error:
            yield checks.unknown_checkpoint(error)
            return
        found = checks.check_checkpoint(directory)
        yield found
        if can_compute and found.status is not Status.FAILED:
            yield checks.check_memory(directory)


def lines_of(check: Check) -> str:
    """A check for a person: a line, and another with the advice."""
    line = f"{check.status:<8} {check.name:<14} {check.found}"
    return f"{line}\n{'':<24}-> {check.advice}" if check.advice else line


def as_json(done: list[Check]) -> str:
    """All checks for a program."""
    ok = all(check.status is not Status.FAILED for check in done)
    return json.dumps({"ok": ok, "checks": [asdict(check) for check in done]}, indent=2, ensure_ascii=False)
