"""What detection answers, and the reading of a single passage that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Rule(StrEnum):
    """What decided how a request was routed."""

    SCRIPT = "script"
    CLASSIFIER = "classifier"
    UNDECIDED = "undecided"
    OVERRIDE = "override"
    PROMPTS_DISAGREE = "prompts-disagree"
    MEASURED_HARM = "measured-harm"
    HOLDOUT = "holdout"


@dataclass(frozen=True)
class Detection:
    """The language that was found, and why.

    Args:
        language: ISO 639-1, or None when undecided.
        confidence: probability of the likeliest served language, decided or not.
        rule: how the language was decided.
        text: the part of the prompt that was judged, of at most 501 characters.
        scores: the likeliest few languages with their probabilities, best first. Languages that are not served are
            among them.
    """

    language: str | None
    confidence: float
    rule: Rule = Rule.UNDECIDED
    text: str = ""
    scores: tuple[tuple[str, float], ...] = ()


UNDECIDED: Final = Detection(None, 0.0)


@dataclass(frozen=True)
class Reading:
    """The reading of one passage, or of the piece of a turn that decides.

    Args:
        detection: what was found.
        letters: how many it rests on. A letter of a dense script counts as several.
        mixed: whether other pieces of the turn are in another language.
    """

    detection: Detection
    letters: int
    mixed: bool = False

    @property
    def language(self) -> str | None:
        return self.detection.language

    def decides(self, fewest_letters: int) -> bool:
        """Whether it names a language, by at least so many letters."""
        return self.detection.language is not None and self.letters >= fewest_letters
