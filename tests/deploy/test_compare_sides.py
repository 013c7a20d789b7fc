"""The comparison of a holdout's sides finds the difference that there is, and the interval covers chance by user."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cc_serve.routing.holdout import Side, side_of
from deploy.compare_sides import compare, main, observations


def write(folder: Path, gain: float, users: int = 400) -> list[str]:
    """Files of a server that holds out half: each user asks thrice and tends to be content or not."""
    chance = random.Random(5)
    log, values = [], []
    for number in range(users):
        user, taste = f"u-{number}", chance.random() * 0.6
        side = side_of(user, 0.5)
        for turn in range(3):
            name = f"{user}-{turn}"
            line = {"request_id": name, "holdout": side, "language": "sw", "outcome": "ok", "seconds": 0.5}
            log.append({**line, "generated_tokens": 8})
            value = int(chance.random() < taste + (gain if side is Side.CONNECTED else 0))
            values.append({"request_id": name, "user": user, "value": value})
    log.append({"request_id": "en", "holdout": None, "language": "en", "outcome": "ok", "seconds": 9.0})
    for name, lines in (("log", log), ("values", values)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(folder / "log"), "--values", str(folder / "values")]


@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_a_difference_is_found_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gain: float
) -> None:
    assert main(write(tmp_path, gain)) == 0
    lines = capsys.readouterr().out.splitlines()
    low, high = (float(word) for word in lines[-1].rpartition("(")[2].rstrip(")").split(" to "))
    assert low < gain < high
    assert (low > 0) == (gain > 0)
    assert "0.5" in next(line for line in lines if line.startswith("seconds"))


def test_the_interval_is_over_users() -> None:
    """Thirty like answers of one user say no more than one does."""
    few = {side: {f"{side}-{n}": [float(n % 2)] for n in range(40)} for side in ("plain", "connected")}
    many = {side: {user: values * 30 for user, values in users.items()} for side, users in few.items()}
    assert compare(few) == compare(many)


def test_sides_without_enough_users_say_so() -> None:
    few = {side: {f"{side}-{n}": [1.0] for n in range(9)} for side in ("plain", "connected")}
    assert compare(few).endswith("too few users for an interval")
    assert compare({"plain": {}, "connected": few["plain"]}).endswith("nothing to compare")


def test_failed_requests_have_no_time() -> None:
    line = {"request_id": "a", "holdout": "plain", "outcome": "server_error", "seconds": 60, "generated_tokens": 1}
    found = observations([line], [])
    assert found["ended well"]["plain"] == {"a": [0.0]}
    assert found["seconds"]["plain"] == {}


@pytest.mark.parametrize(("text", "words"), [("[]\n", "line 1"), ("{}\n", "request_id"), (None, "cannot be read")])
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "log").write_text(text)
    assert main([str(tmp_path / "log")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert str(tmp_path / "log") in error
