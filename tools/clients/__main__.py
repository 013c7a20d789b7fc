"""``make clients HOST=http://127.0.0.1:8000``: run real clients against a running server, and print how they fared.

Each client has an environment of its own in ``.tools/clients``, asks in English and in German, streams, and is refused.
The first run installs all of them: minutes, and 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.clients.environments import ROOT, InstallError, clients, prepare

STEPS: Final = ("plain", "connected", "streamed", "refused")
SECONDS: Final = 300


class ServerError(RuntimeError):
    """The server is not one that the clients could try."""


def ask(command: Sequence[str], address: str, model: str) -> dict[str, str | None]:
    """Run a client's program, and return each step's problem, None where it passed."""
    environment = {**os.environ, "CLIENTS_ADDRESS": address, "CLIENTS_MODEL": model, "PYTHONPATH": str(ROOT)}
    try:
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(STEPS, f"no end within {SECONDS} s")
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"step"')]
    last = "".join(ran.stderr.strip().splitlines()[-1:])[:300]
    return dict.fromkeys(STEPS, f"not reached: {last}") | {line["step"]: line["problem"] for line in lines}


def served_model(address: str) -> str:
    """The name of the first model of the server, which must serve German.

    Raises:
        ServerError: it does not, or is none of ours.
    """
    try:
        languages = _get(f"{address}/v1/languages")["data"]
        model: str = _get(f"{address}/v1/models")["data"][0]["id"]
    except (OSError, ValueError, LookupError) as error:
        raise ServerError(f"{address} does not answer as cc-serve does: {error}") from error
    if all(entry["connection"] == "off" for entry in languages if entry["language"] == "de"):
        raise ServerError(f"{address} serves no connection for German, in which the clients ask")
    return model


def table(outcomes: dict[str, dict[str, str | None]], versions: dict[str, str]) -> str:
    """A line for each client, and one for each problem."""
    lines = [f"{'client':18}{'version':10}" + "".join(f"{step:11}" for step in STEPS).rstrip()]
    problems = []
    for name, outcome in outcomes.items():
        cells = "".join(f"{'FAILED' if outcome[step] else 'passed':11}" for step in STEPS).rstrip()
        lines.append(f"{name:18}{versions[name]:10}{cells}")
        problems += [f"{name}, {step}: {problem}" for step, problem in outcome.items() if problem]
    return "\n".join([*lines, *problems])


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every client passed, 1 when one did not, 2 when there is no server to try."""
    known = clients()
    parser = argparse.ArgumentParser(prog="clients", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="CLIENT", help=f"of {', '.join(known)}; all without one")
    parser.add_argument("--host", default="http://127.0.0.1:8000", help="the server's address")
    parser.add_argument("--home", type=Path, default=ROOT / ".tools/clients", help="where environments are")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - known.keys():
        parser.error(f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    address = options.host.rstrip("/")
    try:
        model = served_model(address)
    except ServerError as error:
        print(f"clients: {error}", file=sys.stderr)
        return 2
    outcomes: dict[str, dict[str, str | None]] = {}
    for name in options.names or known:
        try:
            outcomes[name] = ask(prepare(known[name], options.home), address, model)
        except InstallError as error:
            outcomes[name] = dict.fromkeys(STEPS, f"not installed: {error}")
    print(table(outcomes, {name: client.version for name, client in known.items()}))
    return int(any(problem for outcome in outcomes.values() for problem in outcome.values()))


def _get(address: str) -> dict[str, list[dict[str, str]]]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        content: dict[str, list[dict[str, str]]] = json.load(answer)
        return content


if __name__ == "__main__":
    sys.exit(main())
