"""Connections in vLLM's sampling parameters and outputs; with a real engine: tests/e2e/test_offline.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from vllm import SamplingParams

from cc_serve import Route, connected, connection_of


@pytest.mark.parametrize("connection", ["global", Route("sw", 0.9, "global")])
def test_a_connection_is_asked_for_beside_what_is_there(connection: Route | str) -> None:
    given = SamplingParams(temperature=0, max_tokens=3, extra_args={"other": 1})
    parameters = connected(given, connection)
    assert parameters.extra_args == {"other": 1, "cc_connection": "global"}
    assert (parameters.max_tokens, given.extra_args) == (3, {"other": 1}), "a copy"


def test_a_strength_goes_with_the_connection() -> None:
    half = connected(SamplingParams(), "global", 0.5)
    assert half.extra_args == {"cc_connection": "global", "cc_strength": 0.5}
    assert connected(half, "global").extra_args == {"cc_connection": "global"}
    assert not connected(half, "off", 0.5).extra_args


@pytest.mark.parametrize("connection", ["off", Route("en", 0.9, "off")])
def test_off_is_plain(connection: Route | str) -> None:
    assert not connected(connected(SamplingParams(), "global"), connection).extra_args


def test_what_was_done() -> None:
    done = {"name": "global", "layer": 7, "captures": 1}
    assert connection_of(SimpleNamespace(kv_transfer_params={"cc_connection": done})) == done  # type: ignore[arg-type]
    assert connection_of(SimpleNamespace(kv_transfer_params=None)) is None  # type: ignore[arg-type]
