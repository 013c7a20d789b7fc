"""Short measurements of one server, with locust as a library: compare.py and ramp.py need several.

Import this module before anything that opens sockets, since locust replaces them with gevent's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import gevent
from locust.env import Environment

from loadtests.chat_user import REFUSED, ChatUser
from loadtests.questions import Mix, Traffic, packaged_questions
from loadtests.streaming import Answer


@dataclass
class Window:
    """What was seen in one stretch of time.

    Args:
        seconds: its length.
        begun: conversations of an open loop that began in it.
        answers: whole answers that ended in it.
        refused: requests that the server's limits refused.
        failed: the reasons of other failures.
    """

    seconds: float = 0.0
    begun: int = 0
    answers: list[Answer] = field(default_factory=list)
    refused: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all answers together, a second."""
        return sum(answer.tokens for answer in self.answers) / self.seconds

    @property
    def between_tokens(self) -> float:
        """Mean seconds between tokens."""
        return statistics.fmean(gap for answer in self.answers for gap in answer.gaps)

    def first_token(self, share: float) -> float:
        """Seconds within which ``share`` of the answers began."""
        times = sorted(answer.first_token_seconds or 0.0 for answer in self.answers)
        return times[min(len(times) - 1, int(share * len(times)))] if times else float("inf")

    def good(self, objective: float) -> float:
        """Whole answers a second that began within ``objective`` seconds."""
        return sum((answer.first_token_seconds or 0.0) <= objective for answer in self.answers) / self.seconds


class Generator:
    """Sends the traffic of one class of users, window by window.

    Args:
        address: URL of the server.
        users: the class.
    """

    def __init__(self, address: str, users: type[ChatUser]) -> None:
        self._users = users
        self._environment = Environment(user_classes=[users], host=address)
        self._environment.events.request.add_listener(self._note)  # type: ignore[no-untyped-call]
        self._runner = self._environment.create_local_runner()
        self._window = Window()

    def run(self, users: int, seconds: float, *, warm_up: float = 0.0, finish: bool = False) -> Window:
        """Let users work, and return what was seen.

        Args:
            users: how many.
            seconds: length of the window.
            warm_up: seconds of work before the window, which do not count.
            finish: let requests end that began in the window, and count them and the time until then.
        """
        self._environment.stop_timeout = 600 if finish else 0
        self._window = Window()
        self._runner.start(users, spawn_rate=users)
        gevent.sleep(warm_up)
        window = self._window = Window()
        begun, start = self._users.begun, time.perf_counter()
        gevent.sleep(seconds)
        window.begun = self._users.begun - begun
        if not finish:
            window.seconds = time.perf_counter() - start
            self._window = Window()
        self._runner.stop()
        if finish:
            window.seconds = time.perf_counter() - start
        return window

    def _note(self, exception: object, context: dict[str, Any], **_: Any) -> None:
        answer = context.get("answer")
        if answer is None:
            return
        if exception is None:
            self._window.answers.append(answer)
        elif str(exception).startswith(REFUSED):
            self._window.refused += 1
        else:
            self._window.failed.append(str(exception))


def add_traffic(parser: argparse.ArgumentParser, languages: str | None = None) -> None:
    """Add the options that say what is asked."""
    parser.add_argument("address", help="of the server, such as http://127.0.0.1:8000")
    every = ",".join(packaged_questions())
    parser.add_argument("--languages", default=languages or every, help="VALUE:WEIGHT,... (default: %(default)s)")
    parser.add_argument("--examples", default="0", help="answered questions before the own (default: %(default)s)")
    parser.add_argument("--output-tokens", default="32", help="VALUE:WEIGHT,... (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)


def traffic(options: argparse.Namespace, connection: str = "auto") -> Traffic:
    """The traffic that these options describe."""
    return Traffic(
        Mix.parse(options.languages),
        Mix.of_numbers(options.examples),
        output_tokens=Mix.of_numbers(options.output_tokens),
        connection=connection,
    )
