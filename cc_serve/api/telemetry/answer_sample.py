"""The beginning of an answer whose language shall be told, gathered while it is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Enough to tell a language by.
MOST_CHARACTERS: Final = 1000


@dataclass(slots=True)
class AnswerSample:
    """The first answer to a request.

    Args:
        text: its beginning.
        claimed: whether one of the HTTP request's engine requests gathers the text already.
    """

    text: str = ""
    claimed: bool = False

    def claim(self) -> bool:
        """Whether the engine request that asks is the first."""
        first, self.claimed = not self.claimed, True
        return first

    def add(self, text: str, *, whole: bool) -> None:
        """Add the new text; if ``whole``, replace the text so far."""
        if whole:
            self.text = text[:MOST_CHARACTERS]
        elif len(self.text) < MOST_CHARACTERS:
            self.text = (self.text + text)[:MOST_CHARACTERS]
