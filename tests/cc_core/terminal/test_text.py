"""Text for a terminal."""

from cc_core.terminal.text import one_line


def test_an_errors_message_is_one_line() -> None:
    assert one_line(ValueError("first\n  second\tthird ")) == "first second third"
