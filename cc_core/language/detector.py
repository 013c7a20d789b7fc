"""Which of the served languages a text is written in, or none: a wrong answer is worse than none.

The script decides first. Where several languages share a script, a classifier chooses among them and among their common
neighbours that are not served, so that Italian is undecided and not Spanish.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cc_core.language.classifier import Ranking, classifier
from cc_core.language.prose import around_colon, edge_paragraphs, excerpt, prose, without_quotations
from cc_core.language.scripts import EAST_ASIAN, SCRIPTS, kana_share, only_letters_of, script_of
from cc_core.names import ENGLISH

SERVED_LANGUAGES: Final = (
    *("ar", "bn", "de", "el", "en", "es", "eu", "fr", "hi", "id", "ja"),
    *("ko", "pt", "ru", "sw", "te", "th", "tr", "ur", "vi", "yo", "zh"),
)

# The probability from which a text is decided, unless set.
THRESHOLD: Final = 0.6
# A passage of fewer letters, such as "Answer:", says too little on its own.
SHORTEST_PASSAGE: Final = 12
# The letters around a quotation that tell whose words they are.
SHORTEST_FRAME: Final = 8
# The letters before a colon, and the confidence in them, that make an order about the passage behind it, and how many
# times longer that has to be: a name or a title may stand before a colon as well.
SHORTEST_ORDER: Final = 15
SURE: Final = 0.9
PASSAGE_RATIO: Final = 1.5
# A share of kana that Chinese text never has and Japanese text nearly always has.
KANA_SHARE: Final = 0.1
# How many candidates a detection lists.
CANDIDATES: Final = 3


class Rule(StrEnum):
    """What decided how a request was routed."""

    SCRIPT = "script"
    CLASSIFIER = "classifier"
    UNDECIDED = "undecided"
    OVERRIDE = "override"
    PROMPTS_DISAGREE = "prompts-disagree"


@dataclass(frozen=True)
class Detection:
    """What a text's language was found to be.

    Args:
        language: ISO 639-1, or None when undecided.
        confidence: probability of the likeliest served language, decided or not.
        rule: what decided.
        text: the part of the text that was judged, of at most 501 characters.
        scores: probabilities of the likeliest few languages, the best first; those not served are among them.
    """

    language: str | None
    confidence: float
    rule: Rule = Rule.UNDECIDED
    text: str = ""
    scores: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class _Reading:
    """A detection, and how many letters (in Latin letters' worth) it rests on."""

    detection: Detection
    letters: int

    @property
    def says_enough(self) -> bool:
        return self.detection.language is not None and self.letters >= SHORTEST_PASSAGE


UNDECIDED: Final = Detection(None, 0.0)


class LanguageDetector:
    """Detects the language of a prompt. Never raises, whatever the text.

    The first one takes about a second to make: it loads the tables, so that no request has to wait for them.

    Args:
        languages: what may be answered.
        threshold: the probability below which the answer is None.
    """

    def __init__(self, languages: Iterable[str] = SERVED_LANGUAGES, threshold: float = THRESHOLD) -> None:
        self.languages: Final = frozenset(languages)
        self.threshold: Final = threshold
        for script in SCRIPTS:
            if script.neighbours:
                classifier(script)

    def detect(self, text: str) -> Detection:
        """The language of the instruction in ``text``.

        Prompts mix languages: an English instruction over a quoted passage, or the reverse. The instruction
        is the shorter of the first and last paragraph, where either says enough to be decided; in a single line
        what stands before the colon, or outside the quotation marks.
        """
        text = prose(text)
        if paragraphs := edge_paragraphs(text):
            edges = [self._read(paragraph) for paragraph in paragraphs]
            decided = [edge for edge in edges if edge.says_enough]
            return (min(decided, key=lambda edge: edge.letters) if decided else self._read(text)).detection
        if parts := around_colon(text):
            instruction, passage = map(self._read, parts)
            if (order := self._order(instruction, passage)) is not None:
                return order
        text = excerpt(text)
        own = without_quotations(text)
        if own != text and (reading := self._read(own)).letters >= SHORTEST_FRAME and reading.detection.language:
            return reading.detection
        return self._read(text).detection

    def _order(self, instruction: _Reading, passage: _Reading) -> Detection | None:
        """What an instruction before a colon says; None where it is no instruction, or in the passage's language."""
        found, other = instruction.detection, passage.detection.language
        if instruction.letters < SHORTEST_ORDER or other == found.language:
            return None
        if found.language and found.confidence >= SURE:
            clear = passage.letters >= PASSAGE_RATIO * instruction.letters
            return found if clear else replace(UNDECIDED, text=found.text)
        # A wrong "English" would cost the request its connection for the sake of what it quotes.
        foreign = other == ENGLISH and dict(found.scores).get(ENGLISH, 0.0) < 1 - SURE
        return replace(UNDECIDED, text=found.text) if foreign else None

    def _read(self, text: str) -> _Reading:
        text = excerpt(text)
        script, letters = script_of(text)
        if script is None:
            return _Reading(replace(UNDECIDED, text=text), letters)
        own = only_letters_of(script, text)
        if script is EAST_ASIAN:
            rule, ranking = Rule.SCRIPT, _certain("ja" if kana_share(own) > KANA_SHARE else "zh")
        elif not script.neighbours:
            rule, ranking = Rule.SCRIPT, _certain(script.languages[0])
        else:
            rule, ranking = Rule.CLASSIFIER, classifier(script).rank(own, CANDIDATES)
        confidence = round(ranking.probability, 4)
        decided = confidence >= self.threshold and ranking.language in self.languages
        language, rule = (ranking.language, rule) if decided else (None, Rule.UNDECIDED)
        return _Reading(Detection(language, confidence, rule, text, ranking.candidates), letters)


def _certain(language: str) -> Ranking:
    return Ranking(language, 1.0, ((language, 1.0),))
