"""Text for a terminal."""

from cc_core.terminal.text import one_line


def test_an_errors_message_is_one_line() -> None:
    assert one_line(ValueError("first\n  second\tthird ")) == "first second third"


def test_an_error_without_a_message_is_told_by_its_kind() -> None:
    assert one_line(TimeoutError()) == "TimeoutError"
