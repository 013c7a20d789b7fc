"""Text for a terminal."""


def one_line(error: object) -> str:
    """An error's message without its line breaks; the error's kind if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
