"""Who is held out: as many as asked for, always the same, wherever and however often the question is asked."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_serve.routing.holdout import Side, side_of

SUBJECTS = [f"user-{number}" for number in range(20_000)]

subjects = st.text(st.characters(codec=None))
shares = st.floats(0, 1)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.95])
def test_the_share_is_what_was_asked_for(share: float) -> None:
    held = sum(side_of(subject, share) is Side.PLAIN for subject in SUBJECTS)
    deviation = math.sqrt(len(SUBJECTS) * share * (1 - share))
    assert abs(held - len(SUBJECTS) * share) < 4 * deviation


def test_neighbouring_names_are_independent() -> None:
    """Of two users with consecutive numbers, both are held out as often as chance says."""
    sides = [side_of(subject, 0.5) is Side.PLAIN for subject in SUBJECTS]
    both = sum(one and other for one, other in zip(sides[::2], sides[1::2], strict=True))
    assert abs(both - len(SUBJECTS) / 8) < 4 * math.sqrt(len(SUBJECTS) / 2 * 3 / 16)


@given(subjects)
def test_nobody_and_everybody(subject: str) -> None:
    assert (side_of(subject, 0), side_of(subject, 1)) == (Side.CONNECTED, Side.PLAIN)


@given(subjects, shares, shares)
def test_who_is_held_out_stays_so_while_the_share_grows(subject: str, one: float, other: float) -> None:
    if side_of(subject, min(one, other)) is Side.PLAIN:
        assert side_of(subject, max(one, other)) is Side.PLAIN


def test_another_process_agrees() -> None:
    code = "import sys; from cc_serve.routing.holdout import side_of; print(*(side_of(s, 0.5) for s in sys.argv[1:]))"
    told = subprocess.run([sys.executable, "-c", code, *SUBJECTS[:64]], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [side_of(subject, 0.5) for subject in SUBJECTS[:64]]
