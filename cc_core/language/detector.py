"""Which of the served languages a prompt is written in, or none: a wrong answer is worse than none.

Prompts mix languages, and the instruction's is the one that counts: `LanguageDetector.detect` finds the instruction.
`LanguageDetector._read` finds the language of such a passage in four steps: take an excerpt, find its script, let a
classifier rank the languages of that script, and abstain where none is likely enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cc_core.language.classifier import Ranking, classifier
from cc_core.language.prose import around_colon, edge_paragraphs, excerpt, prose, without_quotations
from cc_core.language.scripts import EAST_ASIAN, SCRIPTS, Script, kana_share, only_letters_of, script_of
from cc_core.names import ENGLISH

SERVED_LANGUAGES: Final = (
    *("ar", "bn", "de", "el", "en", "es", "eu", "fr", "hi", "id", "ja"),
    *("ko", "pt", "ru", "sw", "te", "th", "tr", "ur", "vi", "yo", "zh"),
)

# The default for the lowest probability that decides a language.
THRESHOLD: Final = 0.6
# A paragraph of fewer letters, such as "Answer:", says too little on its own.
SHORTEST_PARAGRAPH: Final = 12
# Fewer letters around a quotation do not tell whose words they are.
SHORTEST_FRAME: Final = 8
# What stands before a colon is an instruction if it has this many letters, its language is this sure, and the passage
# after the colon is this many times longer. Otherwise it may be a name or a title.
SHORTEST_INSTRUCTION: Final = 15
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
class _Reading:
    """A detection and the number of letters it rests on. A letter of a dense script counts as several."""

    detection: Detection
    letters: int

    def decides(self, fewest_letters: int) -> bool:
        return self.detection.language is not None and self.letters >= fewest_letters


class LanguageDetector:
    """Detects the language of a prompt. Never raises, whatever the text.

    The first one takes about a second to make, because it loads the tables: no request has to wait for them.

    Args:
        languages: the languages that it may answer.
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

        If the text has several paragraphs, the instruction is the first or the last. If the language of both can be
        told, it is the shorter one. In a single line, the instruction stands before a colon or outside quotation marks.
        """
        text = prose(text)
        if paragraphs := edge_paragraphs(text):
            edges = [self._read(paragraph) for paragraph in paragraphs]
            decided = [edge for edge in edges if edge.decides(SHORTEST_PARAGRAPH)]
            return (min(decided, key=lambda edge: edge.letters) if decided else self._read(text)).detection
        return self._before_colon(text) or self._outside_quotations(text) or self._read(text).detection

    def _before_colon(self, text: str) -> Detection | None:
        """The language of an instruction before a colon. None if the colon does not divide two languages."""
        if (parts := around_colon(text)) is None:
            return None
        instruction, passage = map(self._read, parts)
        found, other = instruction.detection, passage.detection.language
        if instruction.letters < SHORTEST_INSTRUCTION or other == found.language:
            return None
        undecided = replace(UNDECIDED, text=found.text)
        if found.language and found.confidence >= SURE:
            return found if passage.letters >= PASSAGE_RATIO * instruction.letters else undecided
        # A foreign instruction over an English passage: a wrong "English" would cost the request its connection.
        foreign = other == ENGLISH and dict(found.scores).get(ENGLISH, 0.0) < 1 - SURE
        return undecided if foreign else None

    def _outside_quotations(self, text: str) -> Detection | None:
        """The language of the text around quotations. None if there is no quotation, or too little text around it."""
        text = excerpt(text)
        frame = without_quotations(text)
        if frame == text:
            return None
        reading = self._read(frame)
        return reading.detection if reading.decides(SHORTEST_FRAME) else None

    def _read(self, text: str) -> _Reading:
        """The language of one passage."""
        text = excerpt(text)
        script, letters = script_of(text)
        if script is None:
            return _Reading(replace(UNDECIDED, text=text), letters)
        rule, ranking = _rank(script, only_letters_of(script, text))
        confidence = round(ranking.probability, 4)
        if confidence >= self.threshold and ranking.language in self.languages:
            return _Reading(Detection(ranking.language, confidence, rule, text, ranking.candidates), letters)
        return _Reading(Detection(None, confidence, Rule.UNDECIDED, text, ranking.candidates), letters)


def _rank(script: Script, text: str) -> tuple[Rule, Ranking]:
    """Rank the languages that ``text``, written in ``script``, may be in. Also whether the script alone decides."""
    if script is EAST_ASIAN:
        return Rule.SCRIPT, _certain("ja" if kana_share(text) > KANA_SHARE else "zh")
    if not script.neighbours:
        return Rule.SCRIPT, _certain(script.languages[0])
    return Rule.CLASSIFIER, classifier(script).rank(text, CANDIDATES)


def _certain(language: str) -> Ranking:
    return Ranking(language, 1.0, ((language, 1.0),))
