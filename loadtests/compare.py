"""Compare plain with connected requests on one running server: the same questions, in short windows that take turns.

    python -m loadtests.compare http://127.0.0.1:8000

prints the ratio of connected to plain as the median over pairs of windows, with its 95 % interval by order statistics,
which holds for any distribution. Since windows take turns, what else runs on the machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable
from typing import Final

from loadtests.chat_user import ChatUser
from loadtests.interval import FEWEST, interval
from loadtests.windows import Generator, Window, add_traffic, traffic

PLAIN, CONNECTED = "off", "auto"
_FIGURES: Final[dict[str, Callable[[Window], float]]] = {
    "tokens/s": lambda window: window.tokens_per_second,
    "first token, s": lambda window: statistics.fmean(a.first_token_seconds or 0.0 for a in window.answers),
    "between tokens, s": lambda window: window.between_tokens,
}


class CompareUser(ChatUser):
    """Asks without pause."""


def measure(address: str, options: argparse.Namespace) -> dict[str, list[Window]]:
    """Windows of plain and of connected requests, in pairs.

    Raises:
        RuntimeError: requests failed or were refused.
    """
    generator = Generator(address, CompareUser)
    windows: dict[str, list[Window]] = {PLAIN: [], CONNECTED: []}
    for turn in range(-1, options.pairs):
        for connection in (PLAIN, CONNECTED) if turn % 2 else (CONNECTED, PLAIN):
            CompareUser.traffic = traffic(options, connection)
            CompareUser.seed, CompareUser.numbers = options.seed + 1000 * turn, itertools.count()
            window = generator.run(options.users, options.seconds, finish=True)
            if window.failed or window.refused or not window.answers:
                raise RuntimeError(f"{window.refused} requests refused; failed: {window.failed[:3]}")
            if turn >= 0:  # the first pair warms up
                windows[connection].append(window)
    return windows


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_traffic(parser, languages="de,fr,sw,ru,ja")
    parser.add_argument("--users", type=int, default=4, help="at the same time (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of a window (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="of windows (default: %(default)s)")
    options = parser.parse_args()
    if options.pairs < FEWEST:
        parser.error(f"--pairs must be at least {FEWEST}")
    windows = measure(options.address, options)
    answers = {name: sum(len(window.answers) for window in each) for name, each in windows.items()}
    print(f"{options.pairs} pairs of {options.seconds:g} s, {options.users} users, answers: {answers}")
    print(f"{'':18}{'plain':>10}{'connected':>11}   connected / plain (95 % confidence)")
    for title, figure in _FIGURES.items():
        plain, connected = ([figure(window) for window in windows[name]] for name in (PLAIN, CONNECTED))
        middle, low, high = interval([c / p for c, p in zip(connected, plain, strict=True)])
        medians = f"{statistics.median(plain):>10.4g}{statistics.median(connected):>11.4g}"
        print(f"{title:18}{medians}   {middle:.3f} ({low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
