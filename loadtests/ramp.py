"""Find the knee of a running server: the highest rate of requests at which first tokens come within the objective.

    python -m loadtests.ramp http://127.0.0.1:8000

Requests arrive at random times, whether earlier ones are answered or not. The rate doubles until the 99th percentile of
the time to first token is above the objective, or more than 1 % of requests are refused or fail. A few steps between
narrow the knee down. Then the server is overloaded. Goodput is the number of answers a second that are whole and began
within the objective. The exit code is 1 when overload takes goodput below ``--least-share`` of its peak. The server's
own limits keep it up: docs/loadtests.md says how to set them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Final, Self

from loadtests.chat_user import ChatUser
from loadtests.knee import find_knee, piles_up
from loadtests.windows import Generator, Window, add_traffic, traffic

_ALLOWED_SHARE: Final = 0.01  # the objective is for 99 % of requests


class RampUser(ChatUser):
    """One stream of requests that arrive at random."""


@dataclass(frozen=True)
class Step:
    """What the server did at one rate. Figures are requests a second, where nothing else is said.

    Args:
        rate: the rate that was asked for.
        begun: the rate that chance made of it.
        answered: whole answers.
        good: whole answers that began within the objective.
        refused: requests that the server's limits refused.
        failed: other failures.
        tokens_per_second: tokens of all answers a second.
        first_token_p50: median seconds to the first token.
        first_token_p99: 99th percentile of seconds to the first token.
        kept_up: whether about as many requests ended as began.
    """

    rate: float
    begun: float
    answered: float
    good: float
    refused: float
    failed: float
    tokens_per_second: float
    first_token_p50: float
    first_token_p99: float
    kept_up: bool

    @classmethod
    def of(cls, rate: float, window: Window, objective: float) -> Self:
        """The step at ``rate``, from what its window saw."""
        return cls(
            rate,
            window.begun / window.seconds,
            len(window.answers) / window.seconds,
            window.good(objective),
            window.refused / window.seconds,
            len(window.failed) / window.seconds,
            window.tokens_per_second,
            window.first_token(0.5),
            window.first_token(0.99),
            not piles_up(window.begun, len(window.answers) + window.refused + len(window.failed)),
        )

    def holds(self, objective: float) -> bool:
        """Whether first tokens came in time, hardly a request was refused or failed, and none piled up."""
        turned_away = self.refused + self.failed
        few = turned_away <= _ALLOWED_SHARE * (self.answered + turned_away)
        return self.first_token_p99 <= objective and few and self.kept_up

    def __str__(self) -> str:
        rates = f"{self.rate:8.2f}{self.answered:10.2f}{self.good:8.2f}{self.refused:9.2f}{self.failed:8.2f}"
        return f"{rates}{self.tokens_per_second:10.1f}{self.first_token_p50:9.3f}{self.first_token_p99:9.3f}"


HEADER: Final = (
    f"{'offered':>8}{'answered':>10}{'good':>8}{'refused':>9}{'failed':>8}{'tokens/s':>10}{'p50, s':>9}{'p99, s':>9}"
)


class Ramp:
    """Measures a server step by step.

    Args:
        options: the command's options.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.steps: list[Step] = []
        self.failures: Counter[str] = Counter()
        RampUser.traffic = traffic(options)
        RampUser.seed = options.seed
        self._generator = Generator(options.address, RampUser)

    def measure(self, rate: float) -> Step:
        """Measure one step, and print it."""
        RampUser.arrivals_per_second = rate
        window = self._generator.run(1, self.options.seconds, warm_up=self.options.warm_up)
        step = Step.of(rate, window, self.options.objective)
        self.steps.append(step)
        self.failures.update(window.failed)
        print(step, flush=True)
        return step

    def holds(self, rate: float) -> bool:
        """Whether a step at this rate keeps the objective."""
        return self.measure(rate).holds(self.options.objective)


def main() -> int:
    """Find the knee, overload, and judge."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.ramp", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_traffic(parser)
    parser.add_argument("--objective", type=float, default=2.5, help="seconds to first token (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1, help="of the first step, a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of a step (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=5, help="seconds before each (default: %(default)s)")
    parser.add_argument("--precision", type=float, default=0.2, help="of the knee (default: %(default)s)")
    parser.add_argument("--overload", type=float, default=2, help="times the peak (default: %(default)s)")
    parser.add_argument("--least-share", type=float, default=0.9, help="of the peak's goodput (default: %(default)s)")
    options = parser.parse_args()
    ramp = Ramp(options)
    print(HEADER)
    knee = find_knee(ramp.holds, options.rate, options.precision)
    peak = max(step.good for step in ramp.steps)
    beyond = ramp.measure(options.overload * max(peak, knee))
    kept = beyond.good / peak
    print(f"knee: {knee:.2f} requests/s; goodput at {options.overload:g} times the peak: {kept:.0%} of it")
    for failure, count in ramp.failures.most_common(5):
        print(f"{count} times: {failure}")
    print(json.dumps({"knee": knee, "kept": kept, "steps": [asdict(step) for step in ramp.steps]}))
    return 0 if kept >= options.least_share else 1


if __name__ == "__main__":
    raise SystemExit(main())
