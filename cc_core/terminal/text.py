"""Text for a terminal."""


def one_line(error: object) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
