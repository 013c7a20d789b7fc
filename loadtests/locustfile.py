"""Chat users, and thresholds that fail the run (docs/loadtests.md).

locust -f loadtests/locustfile.py --host URL
"""

from __future__ import annotations

import logging
from argparse import Namespace
from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import RequestStats

from loadtests.chat_user import ALL, BETWEEN_TOKENS, FIRST_TOKEN, MISROUTED, TOKENS_PER_SECOND, ChatUser
from loadtests.questions import Mix, Traffic, packaged_questions


class LoadTestUser(ChatUser):
    """A user as the command line describes it."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser) -> None:
    """Add our options to locust's."""
    what = parser.add_argument_group("cc-serve: what users ask")
    mix = "as VALUE:WEIGHT,VALUE:WEIGHT"
    what.add_argument(
        "--languages", default=",".join(packaged_questions()), help=f"of conversations, {mix} (default: all alike)"
    )
    what.add_argument("--examples", default="0:2,2:1,4:1", help=f"answered questions before their own, {mix}")
    what.add_argument("--turns", default="1:2,3:1", help=f"questions of a conversation, {mix}")
    what.add_argument("--output-tokens", default="16:2,32:1,64:1", help=f"length of answers, {mix}")
    what.add_argument("--connection", default="auto", help="cc_connection of every request")
    what.add_argument("--seed", type=int, default=None, help="the same questions again")
    parser.add_argument("--api-key", default="", env_var="CC_SERVE_LOADTEST_KEY", is_secret=True, help="of requests")
    how = parser.add_argument_group("cc-serve: how often")
    how.add_argument("--think-seconds", type=float, default=1.0, help="before a question, on average")
    how.add_argument(
        "--arrivals-per-second",
        type=float,
        default=None,
        help="conversations that each user begins, whether earlier ones are over or not (default: one after the other)",
    )
    bounds = parser.add_argument_group("cc-serve: what fails the run, by its exit code")
    bounds.add_argument("--most-failed", type=float, default=0.0, help="share of requests (default: %(default)s)")
    bounds.add_argument("--most-first-token-ms", type=float, default=None, help="99th percentile")
    bounds.add_argument("--most-between-tokens-ms", type=float, default=None, help="99th percentile")
    bounds.add_argument("--least-tokens-per-second", type=float, default=None, help="median of answers")


@events.init.add_listener  # type: ignore[untyped-decorator]
def take_options(environment: Environment, **_: Any) -> None:
    """Set the users' class from the options, before users start. A mix that cannot be read ends the run here."""
    options = environment.parsed_options
    assert options is not None
    LoadTestUser.traffic = Traffic(
        Mix.parse(options.languages),
        Mix.of_numbers(options.examples),
        Mix.of_numbers(options.turns),
        Mix.of_numbers(options.output_tokens),
        options.connection,
    )
    LoadTestUser.api_key = options.api_key
    LoadTestUser.think_seconds = options.think_seconds
    LoadTestUser.arrivals_per_second = options.arrivals_per_second
    LoadTestUser.seed = options.seed


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def judge(environment: Environment, **_: Any) -> None:
    """Fail the run if a threshold is crossed. In a distributed run, the process that collects the figures judges."""
    if isinstance(environment.runner, WorkerRunner) or environment.parsed_options is None:
        return
    found = problems(environment.stats, environment.parsed_options)
    if environment.runner is not None and environment.runner.exceptions:
        found.append("users raised exceptions, see above")
    for problem in found:
        logging.error(problem)
    environment.process_exit_code = 1 if found else 0


def problems(stats: RequestStats, options: Namespace) -> list[str]:
    """The thresholds that were crossed, in words. Misrouted answers, and a run without answers, are always problems."""
    found = [
        f"{error.occurrences} answers {error.error}" for error in stats.errors.values() if MISROUTED in str(error.error)
    ]
    if stats.total.fail_ratio > options.most_failed:
        found.append(f"{stats.total.fail_ratio:.2%} of requests failed, more than {options.most_failed:.2%}")
    first, between, speed = (stats.get(ALL, kind) for kind in (FIRST_TOKEN, BETWEEN_TOKENS, TOKENS_PER_SECOND))
    if not first.num_requests:
        found.append("no answer was whole")
    for entry, most in ((first, options.most_first_token_ms), (between, options.most_between_tokens_ms)):
        if most is not None and (value := entry.get_response_time_percentile(0.99)) > most:
            found.append(f"{entry.method}: 99th percentile {value:.0f}, more than {most:g}")
    least = options.least_tokens_per_second
    if least is not None and (value := speed.get_response_time_percentile(0.5)) < least:
        found.append(f"{speed.method}: median {value:.0f}, less than {least:g}")
    return found
