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
    """A detection and the number of letters it rests on. A letter of a dense script counts as several."""

    detection: Detection
    letters: int

    @property
    def language(self) -> str | None:
        return self.detection.language

    def decides(self, fewest_letters: int) -> bool:
        """Whether it names a language, by at least so many letters."""
        return self.detection.language is not None and self.letters >= fewest_letters
