"""The beginning of an answer whose language will be detected, collected while it is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Enough for the detection.
MOST_CHARACTERS: Final = 1000


@dataclass(slots=True)
class AnswerSample:
    """The beginning of the first answer to a request.

    Args:
        text: the text so far.
        claimed: whether one of the HTTP request's engine requests already collects the text.
    """

    text: str = ""
    claimed: bool = False

    def claim(self) -> bool:
        """Claim the sample for an engine request. Returns True for the first one only."""
        first, self.claimed = not self.claimed, True
        return first

    def add(self, text: str, *, whole: bool) -> None:
        """Add the new text; if ``whole``, replace the text so far."""
        if whole:
            self.text = text[:MOST_CHARACTERS]
        elif len(self.text) < MOST_CHARACTERS:
            self.text = (self.text + text)[:MOST_CHARACTERS]
