"""Text for a terminal."""


def one_line(error: object) -> str:
    """An error's message without its line breaks; the error's kind if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun, such as "1 row" and "2 rows".

    Args:
        number: how many there are.
        one: what follows 1; with the verb where it has one.
        several: what follows any other number, if that is not ``one`` with an s.
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def all_are(number: int, noun: str) -> str:
    """The beginning of a sentence on all of them: "the only row is", "all 2 rows are"."""
    return f"the only {noun} is" if number == 1 else f"all {number} {noun}s are"
