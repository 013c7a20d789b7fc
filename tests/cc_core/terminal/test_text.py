"""Text for a terminal."""

from cc_core.terminal.text import all_are, counted, one_line


def test_an_errors_message_is_one_line() -> None:
    assert one_line(ValueError("first\n  second\tthird ")) == "first second third"


def test_an_error_without_a_message_is_told_by_its_kind() -> None:
    assert one_line(TimeoutError()) == "TimeoutError"


def test_what_is_counted_has_the_right_number() -> None:
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert [counted(number, "process", "processes") for number in (1, 2)] == ["1 process", "2 processes"]
    assert [all_are(number, "row") for number in (1, 2)] == ["the only row is", "all 2 rows are"]
