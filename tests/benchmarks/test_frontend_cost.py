"""The front end's cost over an engine that answers at once, with one API process and with two; no speed is asserted."""

from __future__ import annotations

import json
import sys
from unittest import mock

import pytest

from benchmarks import frontend_cost


def test_one_process_and_two_answer_and_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["frontend_cost", "--engines", "stub", "--seconds", "1", "--clients", "4"]
    with mock.patch.object(sys, "argv", arguments):
        frontend_cost.main()
    output = capsys.readouterr().out
    print(output)
    one, two = json.loads(output.splitlines()[-1])
    assert (one["processes"], two["processes"]) == (1, 2)
    for measured in (one, two):
        assert measured["short_requests_s"] > 0
        assert measured["tokens_s"] > 0
        assert measured["events_a_token"] == pytest.approx(1, abs=0.1)
