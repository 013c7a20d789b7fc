"""Phases of a start come from several processes, are shown in order with their seconds, and end with the start."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time

from cc_serve.process.phases import ENGINE, IMPORT, WEIGHTS, enter_phase
from cc_serve.process.progress import Phase, StartProgress, ready_message

SHOWN = re.compile(rf"cc-serve: +(\d+) s  {re.escape(WEIGHTS)}\r")


def test_phases_of_other_processes_are_shown_and_measured() -> None:
    stream = io.StringIO()
    with StartProgress(stream) as progress:
        before = time.monotonic()
        enter_phase(IMPORT)
        entered = time.monotonic()
        child = (
            "from time import monotonic; from cc_serve.process.phases import enter_phase as e; times = [monotonic()]\n"
            f"for name in {(ENGINE, WEIGHTS, ENGINE)!r}: e(name); times.append(monotonic())\nprint(*times)"
        )
        done = subprocess.run([sys.executable, "-c", child], check=True, capture_output=True, text=True)
        phases = progress.finish()
    begun, engine, weights, _ = map(float, done.stdout.split())
    assert [phase.name for phase in phases] == [IMPORT, ENGINE, WEIGHTS], "each once, however many engines there are"
    assert begun - entered <= phases[0].seconds <= engine - before, "as long as Python took to start"
    assert 0 <= phases[1].seconds <= weights - begun
    lines = stream.getvalue().splitlines()
    assert [re.sub(r"\s+\d+ s", " N s", line) for line in lines] == [
        f"cc-serve: N s  {name}" for name in (IMPORT, ENGINE, WEIGHTS)
    ]


def test_a_terminal_sees_the_seconds_pass() -> None:
    stream = io.StringIO()
    with StartProgress(stream, live=True):
        enter_phase(WEIGHTS)
        end = time.monotonic() + 60
        while len(set(SHOWN.findall(stream.getvalue()))) < 2 and time.monotonic() < end:
            time.sleep(0.05)
    shown = stream.getvalue()
    seconds = [int(number) for number in SHOWN.findall(shown)]
    assert seconds == sorted(seconds)
    assert seconds[0] < seconds[-1]
    assert shown.endswith("\n"), "what follows begins on a line of its own"


def test_nothing_is_said_or_left_after_the_start() -> None:
    stream = io.StringIO()
    before = dict(os.environ)
    with StartProgress(stream) as progress:
        path = progress._path
        enter_phase(IMPORT)
        first = progress.finish()
        enter_phase(WEIGHTS)
        assert progress.finish() == first
    assert WEIGHTS not in stream.getvalue()
    assert not path.exists()
    assert dict(os.environ) == before


def test_a_start_without_phases() -> None:
    with StartProgress(io.StringIO()) as progress:
        assert progress.finish() == []


def test_the_last_message_says_where_what_and_for_whom() -> None:
    phases = [Phase(IMPORT, 9.0), Phase(ENGINE, 11.4), Phase(WEIGHTS, 0.2)]
    connected = {"sw": "global", "de": "de", "fr": "global"}
    message = ready_message("http://h:1", "demo", connected, phases, playground=True)
    assert "ready after 21 s" in message
    assert f"{ENGINE} (11 s), {IMPORT} (9 s)" in message
    for expected in ("http://h:1/v1", "demo", "de for de", "global for fr sw", "en", "http://h:1/playground"):
        assert expected in message
    everywhere = ready_message("http://0.0.0.0:1", "demo", connected, phases, playground=True)
    assert "http://127.0.0.1:1/v1 (and this machine's other addresses)" in everywhere
    assert "http://127.0.0.1:1/playground" in everywhere
    assert "playground" not in ready_message("http://h:1", "demo", connected, phases, playground=False)
