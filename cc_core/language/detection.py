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
    """The detected language, and what decided it.

    Args:
        language: ISO 639-1, or None when undecided.
        confidence: probability of the likeliest served language, whether it was decided or not.
        rule: how the language was decided.
        text: the part of the prompt that was judged, of at most 501 characters.
        scores: the likeliest languages with their probabilities, best first; some of them may not be served.
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
        detection: the language that was found.
        letters: how many letters it rests on; one of a dense script counts as several (`Script.weight`).
        mixed: whether other pieces of the turn are in another language.
    """

    detection: Detection
    letters: int
    mixed: bool = False

    @property
    def language(self) -> str | None:
        return self.detection.language

    def decides(self, fewest_letters: int) -> bool:
        """Whether it names a language, by at least ``fewest_letters``."""
        return self.detection.language is not None and self.letters >= fewest_letters
