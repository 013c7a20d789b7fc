"""A bar is drawn on stderr where one is wanted, and nothing else is."""

from __future__ import annotations

import pytest

from cc_train.terminal.progress import progress


@pytest.mark.parametrize(("total", "shown", "drawn"), [(3, True, True), (3, False, False), (0, True, False)])
def test_a_bar_is_drawn_only_where_it_is_wanted(
    total: int, shown: bool, drawn: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("reading", total, shown=shown) as advance:
        advance(total)
    output, errors = capsys.readouterr()
    assert output == ""
    assert ("reading" in errors and "3/3" in errors) == drawn
