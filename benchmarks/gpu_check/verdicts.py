"""How an engine's answers are judged by what the reference, in float32, makes of them.

Each answer is scored token by token, each token after those that the engine gave before it. A token that is the
reference's best everywhere is greedy two-pass generation's own. A *gap* is how far a token is below the best, in nats.
An engine whose log-probabilities are off by up to e can take a token with a gap of up to 2e: that is a near tie, and
everything beyond is a wrong token.

- float32: e is 1e-3, and 1e-2 on a GPU, whose attention kernels multiply float32 in TF32. Layers have to be equal.
- Other dtypes: the plain requests, which run through vLLM's own code alone, show what the dtype does to this model.
  Connected requests have to be as close within a factor of two, or within the floors below; and both kinds within the
  ceilings, so that what spoils both is found. Where the engine chose another layer than the reference, its layer is
  scored; the reference's logits must then have been near a tie, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.gpu_check.answers import Answer

TOLERANCE: Final = {"cpu": 1e-3, "cuda": 1e-2}
FACTOR: Final = 2.0
MEAN_FLOOR, MEAN_CEILING = 0.02, 0.1
GAP_FLOOR, GAP_CEILING = 0.25, 1.0
LAYER_GAP: Final = 0.05


@dataclass(frozen=True)
class Closeness:
    """How close some answers are to the reference.

    Args:
        requests: how many answers.
        tokens: all of theirs.
        agreeing: tokens before each answer's first that is not the reference's best.
        others: tokens that are not the reference's best.
        mean: mean difference of the tokens' log-probabilities, without sign.
        worst: the largest.
        gap: the largest gap.
        other_layers: requests with another layer than the reference's.
        layer_gap: the largest gap of a layer's logit, as a share of the range of all logits.
    """

    requests: int = 0
    tokens: int = 0
    agreeing: int = 0
    others: int = 0
    mean: float = 0.0
    worst: float = 0.0
    gap: float = 0.0
    other_layers: int = 0
    layer_gap: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What is said of one engine's answers; they are right where there is no problem."""

    plain: Closeness
    connected: Closeness
    problems: list[str] = field(default_factory=list)


def closeness(answers: Sequence[Answer], scores: Sequence[Mapping[str, Any]]) -> Closeness:
    """Compare answers with their scores."""
    differences, gaps, agreeing = [], [], 0
    for answer, score in zip(answers, scores, strict=True):
        differences += [abs(a - b) for a, b in zip(answer.logprobs, score["logprobs"], strict=True)]
        own = [best - logprob for best, logprob in zip(score["best"], score["logprobs"], strict=True)]
        agreeing += next((place for place, gap in enumerate(own) if gap > 0), len(own))
        gaps += own
    if not gaps:
        return Closeness()
    return Closeness(
        requests=len(answers),
        tokens=len(gaps),
        agreeing=agreeing,
        others=sum(gap > 0 for gap in gaps),
        mean=sum(differences) / len(differences),
        worst=max(differences),
        gap=max(gaps),
        other_layers=sum(a.layer != score["layer"] for a, score in zip(answers, scores, strict=True)),
        layer_gap=max(score["layer_gap"] for score in scores),
    )


def judge(dtype: str, device: str, answers: Sequence[Answer], scores: Sequence[Mapping[str, Any]]) -> Verdict:
    """Judge one engine's answers.

    Args:
        dtype: of the engine.
        device: ``cpu`` or ``cuda``.
        answers: the engine's.
        scores: the reference's, of the same answers.
    """
    pairs = list(zip(answers, scores, strict=True))
    plain, connected = (
        closeness([a for a, _ in some], [score for _, score in some])
        for some in (
            [pair for pair in pairs if pair[0].connection is None],
            [pair for pair in pairs if pair[0].connection is not None],
        )
    )
    problems = [f"{kind} requests: none" for kind, some in _kinds(plain, connected) if not some.requests]
    if not problems:
        problems = _exact(device, plain, connected) if dtype == "float32" else _close(plain, connected)
    return Verdict(plain, connected, problems)


def _kinds(plain: Closeness, connected: Closeness) -> tuple[tuple[str, Closeness], ...]:
    return ("plain", plain), ("connected", connected)


def _exact(device: str, plain: Closeness, connected: Closeness) -> list[str]:
    problems, tolerance = [], TOLERANCE[device]
    for kind, some in _kinds(plain, connected):
        if not some.gap <= 2 * tolerance:  # so that NaN is a problem
            problems.append(f"{kind} requests: tokens up to {some.gap:.2g} nats below the reference's")
        if not some.worst <= tolerance:
            problems.append(f"{kind} requests: log-probabilities differ by up to {some.worst:.2g}, not {tolerance:g}")
        if some.other_layers:
            problems.append(f"{kind} requests: {some.other_layers} have another layer than the reference")
    return problems


def _close(plain: Closeness, connected: Closeness) -> list[str]:
    problems = []
    bounds = {
        "plain": (MEAN_CEILING, GAP_CEILING),
        "connected": (
            min(MEAN_CEILING, max(MEAN_FLOOR, FACTOR * plain.mean)),
            min(GAP_CEILING, max(GAP_FLOOR, FACTOR * plain.gap)),
        ),
    }
    for kind, some in _kinds(plain, connected):
        mean, gap = bounds[kind]
        if not some.mean <= mean:
            problems.append(f"{kind} requests: log-probabilities differ by {some.mean:.3f} on average, not {mean:.3f}")
        if not some.gap <= gap:
            problems.append(f"{kind} requests: tokens up to {some.gap:.3f} nats below the reference's, not {gap:.3f}")
        if not some.layer_gap <= LAYER_GAP:
            problems.append(f"{kind} requests: a layer's logit is {some.layer_gap:.1%} of their range below the best")
    return problems


def problems_of_engine(mode: str, facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with an engine apart from its answers.

    Args:
        mode: ``eager``, ``piecewise`` or ``full``.
        facts: what `answers.answer_all` returned.
    """
    problems = list(facts["missing"])
    graph = {"eager": "NONE"}.get(mode, mode.upper())
    steps = facts["steps"].get(graph, {})
    for kind in ("inject", "capture") if graph == "NONE" else ("inject",):
        if not steps.get(kind):
            problems.append(f"no {kind} step ran as {graph}; vLLM chose {facts['graphs']}")
    places = facts["waits"]["ours"]
    if places:
        problems.append(f"the host waits for the GPU in {', '.join(sorted(places))}")
    return problems
