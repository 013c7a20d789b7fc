"""``cc-serve route``: say how prompts would be routed, without an engine."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cc_core.hub import local_directory
from cc_serve.commands.command import Commands, add_command, refuse
from cc_serve.config.configuration import CONFIGURATION_FLAG, load_configuration
from cc_serve.routing.policy import PolicyError
from cc_serve.routing.router import Router, default_router

FIELDS: Final = ("language", "confidence", "connection", "rule", "plain", "scores")


def add_parser(commands: Commands) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "route",
        run,
        summary="say how prompts would be routed, without an engine",
        description=f"Read one JSON string a line, print an object a line:\n{', '.join(FIELDS)}.\n"
        "An undecided language is null. `plain` says why a prompt is answered without a connection,\n"
        "and is null where it has one.",
        example="cc-serve route --checkpoint outputs/demo <<< '\"Habari ya leo?\"'",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help='route as this checkpoint would (default: every language has the connection "global")',
    )
    parser.add_argument(CONFIGURATION_FLAG, type=Path, metavar="FILE", help="follow the section `routing` of this file")


def run(options: argparse.Namespace) -> int:
    """Answer each line of standard input with a line. A bad line is named on standard error, and the rest goes on."""
    try:
        router = Router.of(local_directory(options.checkpoint)) if options.checkpoint else default_router()
        if options.cc_config:
            router = router.with_policy(load_configuration(options.cc_config).routing)
    except PolicyError as error:
        return refuse(f"{options.cc_config}: routing.{error}")
    except ValueError as error:
        return refuse(error)
    status = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = json.loads(line)
        except (ValueError, RecursionError):
            text = None
        if isinstance(text, str):
            explained = asdict(router.explain([text]))
            print(json.dumps({field: explained[field] for field in FIELDS}), flush=True)
        else:
            status = refuse(f'line {number}: expected one JSON string, such as "Guten Tag"')
    return status
