"""Compare the two sides of a holdout: what was connected, and what was held out, from the server's request log.

    python -m deploy.compare_sides requests.jsonl --values ratings.jsonl

Each line of --values is what you know of an answer: {"request_id": "8f14e45f", "user": "u-17", "value": 1}. The value
is any number: a thumb (0 or 1), a score, whether a ticket was solved. ``user`` may be missing. The 95 % interval of a
difference is by bootstrap over users, because chance decides by user; a request without one counts as a user.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

SIDES: Final = ("plain", "connected")
#: With fewer users on a side, an interval would be too narrow.
FEWEST_USERS: Final = 10
_SAMPLES: Final = 2000
_MEASURES: Final = ("ended well", "seconds", "tokens", "value")


class UnusableError(ValueError):
    """The files cannot be compared; the message says which, where and why."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; raises `UnusableError`."""
    try:
        texts = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableError(f"{path}: cannot be read ({error})") from error
    objects = []
    for number, text in enumerate(texts, start=1):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("request_id"), str):
            raise UnusableError(f'{path}, line {number}: expected an object with "request_id"')
        objects.append(value)
    return objects


def observations(
    requests: Iterable[Mapping[str, Any]], values: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By measure, side and user: what was observed. Requests that are on no side are left out."""
    known = {value["request_id"]: value for value in values}
    found: dict[str, dict[str, dict[str, list[float]]]] = {
        measure: {side: defaultdict(list) for side in SIDES} for measure in _MEASURES
    }
    for request in requests:
        if (side := request.get("holdout")) not in SIDES:
            continue
        told = known.get(request["request_id"], {})
        user, ok = str(told.get("user") or request["request_id"]), request["outcome"] == "ok"
        measured: dict[str, float | None] = {"ended well": float(ok), "value": told.get("value")}
        if ok:
            measured |= {"seconds": request["seconds"], "tokens": request["generated_tokens"]}
        for measure, value in measured.items():
            if value is not None:
                found[measure][side][user].append(float(value))
    return found


def mean_and_draws(users: Mapping[str, Sequence[float]], generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """The mean over observations, and the means of draws of users with replacement."""
    totals = np.array([sum(values) for values in users.values()])
    counts = np.array([len(values) for values in users.values()])
    drawn = (generator.integers(len(users), size=len(users)) for _ in range(_SAMPLES))
    return totals.sum() / counts.sum(), np.array([totals[draw].sum() / counts[draw].sum() for draw in drawn])


def compare(sides: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """One measure: users and mean of each side, and connected minus plain with its interval."""
    users = [len(sides[side]) for side in SIDES]
    if not all(users):
        return f"{users[0]:>8}{users[1]:>11}   nothing to compare"
    generator = np.random.default_rng(0)
    (plain, plain_draws), (connected, connected_draws) = (mean_and_draws(sides[side], generator) for side in SIDES)
    counts = f"{users[0]:>8}{users[1]:>11}{plain:>12.4g}{connected:>12.4g}{connected - plain:>+13.4g}"
    if min(users) < FEWEST_USERS:
        return f"{counts}   too few users for an interval"
    low, high = np.percentile(connected_draws - plain_draws, [2.5, 97.5])
    return f"{counts}   ({low:+.4g} to {high:+.4g})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each measure; the exit code is 2 where a file cannot be used."""
    parser = argparse.ArgumentParser(
        "python -m deploy.compare_sides", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path, nargs="+", help="what --request-log wrote, of each replica")
    parser.add_argument("--values", type=Path, metavar="FILE", help="what you know of answers, by request_id")
    parser.add_argument("--language", metavar="CODE", help="only requests that were routed for this language")
    options = parser.parse_args(arguments)
    try:
        requests = [request for path in options.log for request in read_lines(path)]
        values = read_lines(options.values) if options.values else []
    except UnusableError as error:
        print(f"compare_sides: {error}", file=sys.stderr)
        return 2
    if options.language:
        requests = [request for request in requests if request["language"] == options.language]
    print(f"{'':12}   users:{'plain':>8}{'connected':>11}{'plain':>12}{'connected':>12}{'difference':>13}   (95 %)")
    for measure, sides in observations(requests, values).items():
        print(f"{measure:20}  {compare(sides)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
