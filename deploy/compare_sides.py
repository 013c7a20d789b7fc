"""Compare the two sides of a holdout: what was connected, and what was held out, from the server's request log.

    python -m deploy.compare_sides requests.jsonl --values ratings.jsonl

Each line of --values is what you know of an answer: {"request_id": "8f14e45f", "user": "u-17", "value": 1}. The value
is any number: a thumb (0 or 1), a score, whether a ticket was solved. The 95 % interval of a difference is by bootstrap
over users, because chance decides by user. Where some ``user`` is not told, requests are counted, and there is none: a
hundred requests may be one person's.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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


def read_lines(path: Path, problem_of: Callable[[dict[str, Any]], str | None]) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; raises `UnusableError`, also where ``problem_of`` one names something."""
    try:
        texts = path.read_text("utf-8-sig").split("\n")  # a text may hold other separators of lines, such as U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableError(f"{path}: cannot be read ({error})") from error
    objects = []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("request_id"), str):
            raise UnusableError(f'{path}, line {number}: expected an object with "request_id"')
        if problem := problem_of(value):
            raise UnusableError(f"{path}, line {number}: {problem}")
        objects.append(value)
    return objects


def problem_of_request(request: Mapping[str, Any]) -> str | None:
    """What is wrong with a line of the log; None where nothing is, or where it is on no side."""
    if (side := request.get("holdout")) is None:
        return None
    if side not in SIDES:
        return f'"holdout" has to be "plain", "connected" or null, not {side!r}'
    if not isinstance(request.get("outcome"), str):
        return 'has no "outcome"; is it a line of the request log?'
    if not isinstance(request.get("language", 0), str | None):
        return 'has no "language"; is it a line of the request log?'
    wrong = [name for name in ("seconds", "generated_tokens") if not _is_number(request.get(name))]
    return f'"{wrong[0]}" has to be a number, not {request.get(wrong[0])!r}' if wrong else None


def problem_of_value(value: Mapping[str, Any]) -> str | None:
    """What is wrong with a line of --values; None where nothing is."""
    if (given := value.get("value")) is not None and not _is_number(given):
        return f'"value" has to be a number, not {given!r}'
    if not isinstance(user := value.get("user"), str | int | None):
        return f'"user" has to be a text, not {user!r}'
    return None


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False


def what_is_missing(
    requests: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]], language: str | None
) -> str | None:
    """Why there is nothing to compare; None where there is something."""
    sided = [request for request in requests if request.get("holdout") in SIDES]
    if not sided:
        return "no request of the log is on a side; is it the server's request log, and was routing.holdout above 0?"
    if language and not any(request.get("language") == language for request in sided):
        known = sorted({str(request["language"]) for request in sided})
        return f"--language {language}: no request is in it and on a side; there are: {', '.join(known)}"
    if values and not {value["request_id"] for value in values} & {request["request_id"] for request in sided}:
        return "--values: none of its request_ids is that of a request on a side; they stand in the header X-Request-Id"
    return None


def measures_by_user(requests: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]]) -> set[str]:
    """The measures of which each observation's user is told."""
    users = {value["request_id"]: value.get("user") for value in values}
    rated = {value["request_id"] for value in values if value.get("value") is not None}
    sided = {request["request_id"] for request in requests if request.get("holdout") in SIDES}
    asked = {measure: sided & rated if measure == "value" else sided for measure in _MEASURES}
    return {measure for measure, names in asked.items() if all(users.get(name) not in (None, "") for name in names)}


def observations(
    requests: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By measure, side and user, or else request: what was observed. Requests that are on no side are left out."""
    known, by_user = {value["request_id"]: value for value in values}, measures_by_user(requests, values)
    found: dict[str, dict[str, dict[str, list[float]]]] = {
        measure: {side: defaultdict(list) for side in SIDES} for measure in _MEASURES
    }
    for request in requests:
        if (side := request.get("holdout")) not in SIDES:
            continue
        name, ok = request["request_id"], request["outcome"] == "ok"
        told = known.get(name, {})
        measured: dict[str, float | None] = {"ended well": float(ok), "value": told.get("value")}
        if ok:
            measured |= {"seconds": request["seconds"], "tokens": request["generated_tokens"]}
        for measure, value in measured.items():
            if value is not None:
                found[measure][side][str(told["user"]) if measure in by_user else name].append(float(value))
    return found


def mean_and_draws(users: Mapping[str, Sequence[float]], generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """The mean over observations, and the means of draws of users with replacement."""
    totals = np.array([sum(values) for values in users.values()])
    counts = np.array([len(values) for values in users.values()])
    drawn = (generator.integers(len(users), size=len(users)) for _ in range(_SAMPLES))
    return totals.sum() / counts.sum(), np.array([totals[draw].sum() / counts[draw].sum() for draw in drawn])


def compare(sides: Mapping[str, Mapping[str, Sequence[float]]], by_user: bool = True) -> str:
    """One measure: users, or else requests, and mean of each side, and connected minus plain with its interval."""
    users = [len(sides[side]) for side in SIDES]
    if not all(users):
        return f"{users[0]:>8}{users[1]:>11}   nothing to compare"
    generator = np.random.default_rng(0)
    (plain, plain_draws), (connected, connected_draws) = (mean_and_draws(sides[side], generator) for side in SIDES)
    counts = f"{users[0]:>8}{users[1]:>11}{plain:>12.4g}{connected:>12.4g}{connected - plain:>+13.4g}"
    if not by_user:
        return f"{counts}   no interval: --values has to tell each user"
    if min(users) < FEWEST_USERS:
        return f"{counts}   too few users for an interval"
    low, high = np.percentile(connected_draws - plain_draws, [2.5, 97.5])
    return f"{counts}   ({low:+.4g} to {high:+.4g})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each measure; the exit code is 2 where a file cannot be used, or nothing can be compared."""
    parser = argparse.ArgumentParser(
        "python -m deploy.compare_sides", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path, nargs="+", help="what --request-log wrote, of each replica")
    parser.add_argument("--values", type=Path, metavar="FILE", help="what you know of answers, by request_id")
    parser.add_argument("--language", metavar="CODE", help="only requests that were routed for this language")
    options = parser.parse_args(arguments)
    try:
        requests = [request for path in options.log for request in read_lines(path, problem_of_request)]
        values = read_lines(options.values, problem_of_value) if options.values else []
    except UnusableError as error:
        print(f"compare_sides: {error}", file=sys.stderr)
        return 2
    if problem := what_is_missing(requests, values, options.language):
        print(f"compare_sides: {problem}", file=sys.stderr)
        return 2
    if options.language:
        requests = [request for request in requests if request.get("language") == options.language]
    by_user = measures_by_user(requests, values)
    print(f"{'':12}{'':10}{'plain':>8}{'connected':>11}{'plain':>12}{'connected':>12}{'difference':>13}   (95 %)")
    for measure, sides in observations(requests, values).items():
        counted = "users" if measure in by_user else "requests"
        print(f"{measure:12}{counted:>10}{compare(sides, measure in by_user)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
