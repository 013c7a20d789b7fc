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


REQUEST = {
    "request_id": "a",
    "holdout": "plain",
    "language": "sw",
    "outcome": "ok",
    "seconds": 1,
    "generated_tokens": 8,
}
VALUE = {"request_id": "a", "user": "u", "value": 1}


def save(path: Path, *lines: object) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def ask(folder: Path, values: list[dict[str, object]], count: int = 200) -> list[str]:
    """The arguments for ``count`` requests on each side."""
    requests = [
        {**REQUEST, "request_id": f"{side}-{n}", "holdout": side, "seconds": n % 7}
        for side in Side
        for n in range(count)
    ]
    return [save(folder / "log", *requests), *(["--values", save(folder / "values", *values)] if values else [])]


def told(output: str) -> dict[str, str]:
    lines = output.splitlines()[1:]
    return {line[:12].strip(): line[12:].strip() for line in lines}


@pytest.mark.parametrize("user", [{}, {"user": None}, {"user": ""}])
def test_requests_without_a_user_are_no_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], user: dict[str, object]
) -> None:
    """200 requests on each side may be two users'."""
    assert (
        main(ask(tmp_path, [{"request_id": f"{side}-{n}", "value": 1, **user} for side in Side for n in range(200)]))
        == 0
    )
    for line in told(capsys.readouterr().out).values():
        assert line.split()[:3] == ["requests", "200", "200"]
        assert line.endswith("no interval: --values has to tell each user")


def test_without_values_requests_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ask(tmp_path, [])) == 0
    found = told(capsys.readouterr().out)
    assert found["value"].split() == ["users", "0", "0", "nothing", "to", "compare"]
    assert found["seconds"].startswith("requests")
    assert " to " not in found["seconds"].replace("has to tell", "")


def test_what_is_rated_counts_its_users_though_other_requests_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rated = [
        {"request_id": f"{side}-{n}", "user": f"{side}-{n % 20}", "value": n % 2} for side in Side for n in range(100)
    ]
    assert main(ask(tmp_path, rated)) == 0
    found = told(capsys.readouterr().out)
    assert found["value"].split()[:3] == ["users", "20", "20"]
    assert found["value"].endswith(")")
    assert found["seconds"].split()[:3] == ["requests", "200", "200"]


def test_one_value_without_its_user_leaves_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rated: list[dict[str, object]] = [
        {"request_id": f"{side}-{n}", "user": f"{side}-{n}", "value": n % 2} for side in Side for n in range(50)
    ]
    del rated[7]["user"]
    assert main(ask(tmp_path, rated)) == 0
    assert told(capsys.readouterr().out)["value"].split()[:3] == ["requests", "50", "50"]


def test_a_user_may_be_a_number_even_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rated: list[dict[str, object]] = [
        {"request_id": f"{side}-{n}", "user": n, "value": n % 2} for side in Side for n in range(50)
    ]
    assert main(ask(tmp_path, rated)) == 0
    assert told(capsys.readouterr().out)["value"].split()[:3] == ["users", "50", "50"]


def test_values_of_other_programs_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a mark of UTF-8 at the beginning, lines that end as on Windows, U+2028 in a name, and an empty line."""
    values = tmp_path / "values"
    lines = [json.dumps({**VALUE, "user": "u\u2028v"}, ensure_ascii=False), ""]
    values.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert main([save(tmp_path / "log", REQUEST), "--values", str(values)]) == 0
    assert told(capsys.readouterr().out)["value"].split()[:3] == ["users", "1", "0"]


@pytest.mark.parametrize(
    ("request_", "value", "options", "words"),
    [
        ({"holdout": None}, {}, [], "no request of the log is on a side"),
        ({}, {}, ["--language", "de-DE"], "--language de-DE: no request is in it and on a side; there are: sw"),
        ({}, {"request_id": "other"}, [], "--values: none of its request_ids is that of a request on a side"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request_: dict[str, object],
    value: dict[str, object],
    options: list[str],
    words: str,
) -> None:
    log = save(tmp_path / "log", {**REQUEST, **request_})
    assert main([log, "--values", save(tmp_path / "values", {**VALUE, **value}), *options]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"compare_sides: {words}")
    assert told.out == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": "good"}, "\"value\" has to be a number, not 'good'"),
        ({"value": [1]}, '"value" has to be a number, not [1]'),
        ({"value": {}}, '"value" has to be a number, not {}'),
        ({"value": float("nan")}, '"value" has to be a number, not nan'),
        ({"value": float("-inf")}, '"value" has to be a number, not -inf'),
        ({"value": 10**400}, '"value" has to be a number'),
        ({"user": ["u"]}, '"user" has to be a text'),
    ],
)
def test_values_that_cannot_be_used_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str
) -> None:
    values = save(tmp_path / "values", VALUE, {**VALUE, **change})
    assert main([save(tmp_path / "log", REQUEST), "--values", values]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"compare_sides: {values}, line 2: {words}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outcome": ...}, 'has no "outcome"'),
        ({"outcome": None}, 'has no "outcome"'),
        ({"language": ...}, 'has no "language"'),
        ({"language": 5}, 'has no "language"'),
        ({"seconds": ...}, '"seconds" has to be a number, not None'),
        ({"seconds": "1"}, "\"seconds\" has to be a number, not '1'"),
        ({"seconds": float("nan")}, '"seconds" has to be a number, not nan'),
        ({"generated_tokens": ...}, '"generated_tokens" has to be a number, not None'),
        ({"holdout": "left"}, '"holdout" has to be "plain", "connected" or null'),
        ({"holdout": ["plain"]}, '"holdout" has to be "plain", "connected" or null'),
    ],
)
@pytest.mark.parametrize("options", [[], ["--language", "sw"]])
def test_lines_of_the_log_that_cannot_be_used_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str, options: list[str]
) -> None:
    line = {name: value for name, value in {**REQUEST, **change}.items() if value is not ...}
    log = save(tmp_path / "log", REQUEST, line)
    assert main([log, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"compare_sides: {log}, line 2: {words}")
    assert error.count("\n") == 1


def test_lines_on_no_side_need_nothing_else(tmp_path: Path) -> None:
    log = save(tmp_path / "log", REQUEST, {"request_id": "b"}, {"request_id": "c", "holdout": None})
    assert main([log, "--language", "sw"]) == 0


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
