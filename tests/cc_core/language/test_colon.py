"""An instruction before a colon, and what it is about."""

from __future__ import annotations

from cc_core.language.colon import read_around_colon
from cc_core.language.detection import Detection, Reading

LONG = Reading(Detection("en", 0.99), 30)


def test_a_colon_that_divides_nothing_tells_nothing() -> None:
    assert read_around_colon("Wo ist das", lambda text: LONG) is None
    assert read_around_colon("Summarize this: all of it", lambda text: LONG) is None
