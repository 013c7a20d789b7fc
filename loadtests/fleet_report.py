"""What a soak of two replicas showed: whether something was lost that had begun, and whether all counts agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: What became of a request. `FINISHED`: its answer came whole. `LEFT`: its client left it. `WRONG`: it was refused for
#: what it asked. `REFUSED`: 503, to be sent elsewhere. `UNANSWERED`: the connection failed before an answer began.
#: `BROKEN`: it failed after that. Any other status is a name of its own.
FINISHED, LEFT, WRONG, REFUSED = "finished", "left", "wrong", "refused"
UNANSWERED, BROKEN = "unanswered", "broken"
_LOGGED: Final = (FINISHED, LEFT, WRONG, REFUSED)
#: A server writes usage every second; one that is killed loses what it has not written.
UNWRITTEN_SECONDS: Final = 2.0
MOST_GROWTH: Final = 0.02
#: Of memory, in lives that are long enough: pages are used for the first time during the first minutes.
JUDGED_SECONDS: Final = 400.0


@dataclass
class Asked:
    """A request as its client saw it.

    Args:
        key: whose it was.
        life: which start of which replica answered it.
        outcome: what became of it.
        began: by the clock of the run, in seconds.
        ended: the same.
        prompt_tokens: what the answer says of itself; 0 where it did not come whole.
        answer_tokens: the same.
    """

    key: str
    life: int
    outcome: str
    began: float
    ended: float
    prompt_tokens: int = 0
    answer_tokens: int = 0


@dataclass
class Life:
    """A replica from one start to its end.

    Args:
        replica: its number.
        began: by the clock of the run.
        ended: the same; None while it lives.
        killed: whether it was killed.
        exit_code: of one that was stopped.
        memory: seconds, and bytes that its processes have for themselves.
    """

    replica: int
    began: float
    ended: float | None = None
    killed: bool = False
    exit_code: int | None = None
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def growth(self) -> float | None:
        """By what share memory grew after the first quarter, from its first third to its last; None if too short."""
        if not self.memory or self.memory[-1][0] - self.memory[0][0] < JUDGED_SECONDS:
            return None
        first, last = self.memory[0][0], self.memory[-1][0]
        warm = [size for moment, size in self.memory if moment >= first + (last - first) / 4]
        third = max(1, len(warm) // 3)
        return sum(warm[-third:]) / sum(warm[:third]) - 1


@dataclass(frozen=True)
class Told:
    """What the servers say in the end.

    Args:
        logged: lines of all request logs.
        counted: generation requests by life, of those that still live.
        usage: ``requests``, ``prompt_tokens`` and ``answer_tokens`` by key, from the store.
        stuck: requests that still run or wait.
        held: places that the store still holds.
        events: what was done to the replicas and the store: seconds and words.
    """

    logged: int
    counted: Mapping[int, int]
    usage: Mapping[str, Mapping[str, int]]
    stuck: int
    held: int
    events: Sequence[tuple[float, str]]


def judge(asked: Sequence[Asked], lives: Sequence[Life], told: Told, measured: str) -> dict[str, Any]:
    """The figures and what holds of them.

    Args:
        asked: all requests.
        lives: all lives of replicas.
        told: by the servers.
        measured: the key whose clients wait for every answer's own count of tokens.
    """
    outcomes = Counter(each.outcome for each in asked)
    broken = [each for each in asked if each.outcome == BROKEN]
    excused = [each for each in broken if _with_its_replica(each, lives[each.life])]
    answered = sum(outcomes[name] for name in _LOGGED)
    # What the killed replica may have answered or written, or may not, is between these two.
    unsure = [each for each in asked if _unsure(each, lives[each.life])]
    # The last refusals of a replica that stops are logged, whether their clients still get them or not.
    unsent = [each for each in asked if each.outcome == UNANSWERED and _stopped_after(each, lives[each.life])]
    by_life = Counter(each.life for each in asked if each.outcome in _LOGGED)
    whole = [each for each in asked if each.key == measured and each.outcome == FINISHED]
    sums = {
        "requests": len(whole),
        "prompt_tokens": sum(each.prompt_tokens for each in whole),
        "answer_tokens": sum(each.answer_tokens for each in whole),
    }
    open_ended = [each for each in unsure if each.key == measured]
    usage = told.usage.get(measured, {})
    missing = {name: sums[name] - usage.get(name, 0) for name in sums}
    fewer = {
        "requests": sum(each.outcome == FINISHED for each in open_ended),
        "prompt_tokens": sum(each.prompt_tokens for each in open_ended),
        "answer_tokens": sum(each.answer_tokens for each in open_ended),
    }
    # A request that broke with the killed replica is in no client's sum, and may be in the store's.
    more = sum(each.outcome != FINISHED for each in open_ended)
    growth = {number: life.growth for number, life in enumerate(lives) if life.growth is not None}
    holds = {
        "nothing was lost that had begun, but on the killed replica": len(broken) == len(excused),
        "only expected answers": not set(outcomes) - {*_LOGGED, UNANSWERED, BROKEN},
        "each answer has its line in a log": -len(unsure) - len(unsent) <= answered - told.logged <= len(unsure),
        "each living replica counted its requests": all(by_life[life] == n for life, n in told.counted.items()),
        "usage of all replicas is what clients got": all(missing[name] <= fewer[name] for name in sums)
        and missing["requests"] >= -more,
        "stopped replicas ended with 0": all(
            life.exit_code == 0 for life in lives if life.ended is not None and not life.killed
        ),
        "nothing stuck": told.stuck == 0,
        "no place held": told.held == 0,
    }
    if growth:
        holds["memory is flat"] = all(value <= MOST_GROWTH for value in growth.values())
    return {
        "seconds": round(max(each.ended for each in asked), 1),
        "requests": len(asked),
        "outcomes": dict(sorted(outcomes.items())),
        "broken on the killed replica": len(excused),
        "log lines": told.logged,
        "answers that should have one": answered,
        "counted by living replicas": {str(life): [n, by_life[life]] for life, n in told.counted.items()},
        "usage": {name: [usage.get(name, 0), sums[name]] for name in sums},
        "near the kill": len(unsure),
        "memory growth": {str(number): round(value, 4) for number, value in growth.items()}
        or f"not judged: no replica lived {JUDGED_SECONDS:g} s",
        "lives": [_described(life) for life in lives],
        "events": [[round(moment, 1), what] for moment, what in told.events],
        "holds": holds,
    }


def _unsure(asked: Asked, life: Life) -> bool:
    """Whether it ended so near to its replica's kill that neither log nor usage need to have it."""
    if not life.killed or life.ended is None:
        return False
    return asked.began <= life.ended <= asked.ended + UNWRITTEN_SECONDS


def _with_its_replica(asked: Asked, life: Life) -> bool:
    """Whether it broke when its replica was killed, and not before."""
    return life.killed and life.ended is not None and asked.ended >= life.ended - 1


def _stopped_after(asked: Asked, life: Life) -> bool:
    return not life.killed and life.ended is not None and asked.began <= life.ended


def _described(life: Life) -> dict[str, Any]:
    end = "lives" if life.ended is None else "killed" if life.killed else f"exit {life.exit_code}"
    sizes = [size / 2**20 for _, size in life.memory]
    memory = [round(sizes[0]), round(sizes[-1]), round(max(sizes))] if sizes else []
    return {"replica": life.replica, "began": round(life.began, 1), "end": end, "memory_mib": memory}


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = ["# Soak of two replicas", "", "| holds | |", "| --- | --- |"]
    lines += [f"| {name} | {'yes' if value else '**no**'} |" for name, value in report["holds"].items()]
    lines += ["", "| figure | |", "| --- | --- |"]
    for name, value in report.items():
        if name not in ("holds", "events", "lives"):
            lines.append(f"| {name} | {_text(value)} |")
    lines += ["", "| at, s | event |", "| --- | --- |"]
    lines += [f"| {moment} | {what} |" for moment, what in report["events"]]
    lines += ["", "| replica | began, s | end | memory, MiB: first, last, most |", "| --- | --- | --- | --- |"]
    for life in report["lives"]:
        lines.append(f"| {life['replica']} | {life['began']} | {life['end']} | {_text(life['memory_mib'])} |")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        groups: defaultdict[str, str] = defaultdict(str, {str(name): _text(each) for name, each in value.items()})
        return "; ".join(f"{name}: {each}" for name, each in groups.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)
