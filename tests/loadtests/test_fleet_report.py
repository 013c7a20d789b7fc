"""The verdict on a soak: each way in which something can be lost or miscounted is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from loadtests.fleet_report import (
    BROKEN,
    FINISHED,
    LEFT,
    REFUSED,
    UNANSWERED,
    WRONG,
    Asked,
    Life,
    Told,
    as_markdown,
    judge,
)

FLAT = [(float(second), 100) for second in range(0, 500, 5)]


def lives() -> list[Life]:
    """A replica that is killed after 100 seconds and comes back, and one that is stopped after 300."""
    return [
        Life(0, 0.0, 100.0, killed=True),
        Life(1, 0.0, 300.0, exit_code=0, memory=FLAT),
        Life(0, 130.0),
        Life(1, 320.0),
    ]


def asked() -> list[Asked]:
    return [
        Asked("a", 0, FINISHED, 1, 2, 10, 5),
        Asked("a", 0, FINISHED, 99, 99.5, 10, 5),  # may be lost with the replica
        Asked("a", 0, BROKEN, 99, 100),
        Asked("a", 0, UNANSWERED, 110, 110),
        Asked("b", 1, LEFT, 1, 2),
        Asked("b", 1, WRONG, 2, 3),
        Asked("a", 1, REFUSED, 299, 299),
        Asked("a", 2, FINISHED, 350, 360, 10, 5),
        Asked("a", 3, FINISHED, 350, 360, 10, 5),
    ]


TOLD = Told(
    logged=7,
    counted={2: 1, 3: 1},
    usage={"a": {"requests": 4, "prompt_tokens": 40, "answer_tokens": 20}},
    stuck=0,
    held=0,
    events=[(100.0, "killed")],
)


def failing(requests: list[Asked], replicas: list[Life], told: Told) -> list[str]:
    return [name for name, holds in judge(requests, replicas, told, "a")["holds"].items() if not holds]


def test_a_run_in_which_all_holds() -> None:
    assert failing(asked(), lives(), TOLD) == []


def test_what_the_killed_replica_had_not_written_may_be_missing() -> None:
    usage = {"requests": 3, "prompt_tokens": 30, "answer_tokens": 15}
    assert failing(asked(), lives(), replace(TOLD, logged=6, usage={"a": usage})) == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda told: replace(told, logged=3), "line in a log"),
        (lambda told: replace(told, counted={2: 1, 3: 2}), "counted its requests"),
        (lambda told: replace(told, usage={"a": {**TOLD.usage["a"], "requests": 2}}), "usage of all replicas"),
        (lambda told: replace(told, usage={"a": {**TOLD.usage["a"], "requests": 6}}), "usage of all replicas"),
        (lambda told: replace(told, usage={"a": {**TOLD.usage["a"], "answer_tokens": 14}}), "usage of all replicas"),
        (lambda told: replace(told, usage={}), "usage of all replicas"),
        (lambda told: replace(told, stuck=1), "nothing stuck"),
        (lambda told: replace(told, held=1), "no place held"),
    ],
)
def test_what_servers_say_wrongly(change: Callable[[Told], Told], names: str) -> None:
    (name,) = failing(asked(), lives(), change(TOLD))
    assert names in name


@pytest.mark.parametrize("outcome", [BROKEN, "status 500"])
def test_what_is_lost_on_a_living_replica(outcome: str) -> None:
    requests = [*asked(), Asked("b", 1, outcome, 20, 30)]
    assert len(failing(requests, lives(), TOLD)) == 1


def test_what_breaks_before_the_kill_is_not_excused() -> None:
    requests = [*asked(), Asked("b", 0, BROKEN, 20, 30)]
    (name,) = failing(requests, lives(), TOLD)
    assert name.startswith("nothing was lost")


def test_memory_of_short_lives_is_not_judged() -> None:
    replicas = lives()
    replicas[1].memory = FLAT[:10]
    report = judge(asked(), replicas, TOLD, "a")
    assert "memory is flat" not in report["holds"]
    assert "| memory growth | not judged: no replica lived 400 s |" in as_markdown(report)


def test_a_replica_that_stops_badly_and_one_that_grows() -> None:
    replicas = lives()
    replicas[1].exit_code = 1
    replicas[1].memory = [(moment, 100 + int(moment)) for moment, _ in FLAT]
    assert [name.split(" ")[0] for name in failing(asked(), replicas, TOLD)] == ["stopped", "memory"]


def test_the_summary_says_what_does_not_hold() -> None:
    report = judge(asked(), lives(), replace(TOLD, stuck=1), "a")
    text = as_markdown(report)
    assert "| nothing stuck | **no** |" in text
    assert "| no place held | yes |" in text
    assert "| 100.0 | killed |" in text
    assert "| 0 | 0.0 | killed | - |" in text
