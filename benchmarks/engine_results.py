"""What the runs of `benchmarks/engine_bench.py` say: comparisons of times, with bootstrap intervals over rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine_process import Measured

#: The runs of each load, by its name, in the order of rounds.
Runs = dict[str, list[Measured]]


@dataclass(frozen=True)
class Result:
    """A line of the table.

    Args:
        case: what was measured.
        value: the figure.
        bound: what it is held against; None where it is for information only.
        detail: the figures behind it.
        at_least: whether the bound is a lower one.
        interval: 95 % interval, where the figure is of times.
    """

    case: str
    value: float
    bound: float | None
    detail: str
    at_least: bool = True
    interval: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or ``undecided`` where the bound lies within the interval."""
        if self.bound is None:
            return ""
        low, high = self.interval or (self.value, self.value)
        worst, best = (low, high) if self.at_least else (-high, -low)
        bound = self.bound if self.at_least else -self.bound
        return "met" if worst >= bound else "missed" if best < bound else "undecided"

    def as_record(self) -> dict[str, Any]:
        """All fields and the verdict, as a report has them."""
        return asdict(self) | {"verdict": self.verdict}


def cells_of(record: Mapping[str, Any]) -> list[str]:
    """The cells of a result's line in a table: case, figure, interval, bound, verdict, and the figures behind it."""
    interval = " to ".join(f"{value:.3f}" for value in record["interval"] or ())
    bound = "" if record["bound"] is None else f"{'≥' if record['at_least'] else '≤'} {record['bound']:g}"
    return [record["case"], f"{record['value']:.4g}", interval, bound, record["verdict"], record["detail"]]


def typical_seconds(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long a batch takes undisturbed ``[...]``: the median over rounds of each of its parts, summed.

    The batches of all rounds have the same parts. A disturbance hits a few parts of one round: a median over whole
    batches keeps it, and a median by part drops it.

    Args:
        parts: ``[..., rounds, parts]`` seconds.
    """
    seconds: NDArray[np.float64] = np.median(parts, axis=-2).sum(axis=-1)
    return seconds


def parts_of(runs: Sequence[Measured]) -> NDArray[np.float64]:
    """Seconds of each part of each run, ``[rounds, parts]``."""
    return np.array([run.parts for run in runs])


def resampled(rounds: int) -> NDArray[np.int64]:
    """Indices of rounds drawn with replacement, ``[2000, rounds]``, for a bootstrap."""
    return np.random.default_rng(0).integers(rounds, size=(2000, rounds))


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of resampled ``values``."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def compare_throughput(runs: Runs, case: str, load: str, baselines: Sequence[str], bound: float | None) -> Result:
    """A load's throughput as a share of the baselines', which are taken together, with its bootstrap interval.

    Args:
        runs: of all loads.
        case: name of the result.
        load: name of the load.
        baselines: names of the loads that it is compared with.
        bound: least ratio; None where it is for information only.
    """
    mine, theirs = parts_of(runs[load]), np.stack([parts_of(runs[name]) for name in baselines], axis=1)
    drawn = resampled(len(mine))
    resampled_theirs = theirs[drawn].reshape(len(drawn), -1, theirs.shape[-1])
    theirs = theirs.reshape(-1, theirs.shape[-1])
    interval = interval_of(typical_seconds(resampled_theirs) / typical_seconds(mine[drawn]))
    seconds = typical_seconds(mine), typical_seconds(theirs)
    whole = np.median(theirs.sum(axis=1)) / np.median(mine.sum(axis=1))
    detail = f"{seconds[0]:.3f} s against {seconds[1]:.3f} s; medians of whole batches: {whole:.3f}"
    return Result(case, float(seconds[1] / seconds[0]), bound, detail, interval=interval)


def compare_first_token(runs: Runs) -> Result:
    """How much later the first token of a connected request comes than that of a plain one, in decode steps."""
    plain, connected = (np.array([run.first_token for run in runs[f"{kind}, 64"]]) for kind in ("plain", "connected"))
    first, later = np.median(plain), np.median(connected)
    step = float(np.median(parts_of(runs["plain, 64"])[:, 2:]))  # the first two parts are admission and prefill
    drawn = resampled(len(plain))
    interval = interval_of((np.median(connected[drawn], axis=1) - np.median(plain[drawn], axis=1)) / step)
    detail = f"{1e3 * (later - first):.1f} ms later than {1e3 * first:.0f} ms; a decode step {1e3 * step:.1f} ms"
    name = "first token of connected, decode steps after plain"
    return Result(name, float(later - first) / step, 1.25, detail, at_least=False, interval=interval)
