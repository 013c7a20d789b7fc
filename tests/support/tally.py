"""What a session compared with the two-pass reference, printed at its end."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypedDict


class Counts(TypedDict):
    """A tally as a worker of pytest-xdist sends it."""

    requests: dict[str, int]
    tokens: dict[str, int]
    worst: float


@dataclass
class Tally:
    """Requests and tokens that were equal, by test, and the largest difference of a log-probability."""

    requests: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0

    def count(self, tokens: int) -> None:
        """One more request that answered with as many ``tokens`` as the reference."""
        test = re.sub(r".*/|\[.*| \(.*", "", os.environ["PYTEST_CURRENT_TEST"])
        self.requests[test] += 1
        self.tokens[test] += tokens

    def counts(self) -> Counts:
        return {"requests": dict(self.requests), "tokens": dict(self.tokens), "worst": self.worst}

    def add(self, counts: Counts) -> None:
        """Add what a worker counted."""
        self.requests.update(counts["requests"])
        self.tokens.update(counts["tokens"])
        self.worst = max(self.worst, counts["worst"])

    def print_to(self, terminalreporter: Any) -> None:
        if not self.requests:
            return
        for test, requests in sorted(self.requests.items()):
            terminalreporter.write_line(f"{requests:6} requests {self.tokens[test]:7} tokens  {test}")
        terminalreporter.write_line(
            "engine against two-pass reference: "
            f"{self.requests.total()} requests and {self.tokens.total()} tokens equal; "
            f"largest log-probability difference {self.worst:.1e}"
        )


TALLY = Tally()
