"""``cc-serve key new``: make an API key."""

from __future__ import annotations

import argparse
import re

from cc_serve.commands.command import Commands, add_command, refuse
from cc_serve.config.keys import KEY_NAME, hash_key, new_key


def add_parser(commands: Commands) -> None:
    """Add this command."""
    key = commands.add_parser("key", help="make an API key", description="API keys; see docs/operations.md.")
    parser = add_command(
        key.add_subparsers(required=True, metavar="COMMAND"),
        "new",
        run,
        summary="print a new key, and what to write into the configuration file for it",
        description="Print a new key for a client, and the lines for --cc-config, which hold only its SHA-256.",
        example="cc-serve key new alice",
    )
    parser.add_argument("name", metavar="NAME", help="the name that limits and the operator use for the key")


def run(options: argparse.Namespace) -> int:
    """Print a new key, and the lines for the configuration file."""
    if not re.fullmatch(KEY_NAME, options.name):
        return refuse(f"{options.name!r} cannot name a key: use up to 64 of A-Z a-z 0-9 . _ -, a letter or digit first")
    key = new_key()
    print(f"# For the client, and nowhere else: {key}\nkeys:\n  {options.name}:\n    sha256: {hash_key(key)}")
    return 0
