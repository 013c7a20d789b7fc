"""Which of the served languages a prompt is written in. Where that is unsure, the answer is none, which is better than
a wrong one.

Prompts mix languages, and the instruction's is the one that counts: `LanguageDetector.detect` finds the instruction.
`LanguageDetector._read` finds the language of such a passage in four steps: take an excerpt, find its script, let a
classifier rank the languages of that script, and abstain where none is likely enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from cc_core.language.classifier import Ranking, classifier
from cc_core.language.confidence import believed
from cc_core.language.conversation import in_conversation
from cc_core.language.detection import UNDECIDED, Detection, Reading, Rule
from cc_core.language.english import asks_about_name, before_name, closes_in_english, opens_in_english
from cc_core.language.han import japanese_probability
from cc_core.language.instruction import read_turn
from cc_core.language.phrases import CONFIDENCE as PHRASE_CONFIDENCE
from cc_core.language.phrases import phrase_language
from cc_core.language.prose import excerpt
from cc_core.language.requests import (
    closing_language,
    holds_question_word,
    is_request_of,
    load_words,
    lone_request_language,
    opening_language,
)
from cc_core.language.scripts import EAST_ASIAN, LATIN, SCRIPTS, Script, only_letters_of, script_of
from cc_core.language.turns import user_turns
from cc_core.names import ENGLISH

SERVED_LANGUAGES: Final = (
    *("ar", "bn", "de", "el", "en", "es", "eu", "fr", "hi", "id", "ja"),
    *("ko", "pt", "ru", "sw", "te", "th", "tr", "ur", "vi", "yo", "zh"),
)

# The lowest probability that decides a language, unless an operator sets another one.
THRESHOLD: Final = 0.6
# The probability that a text whose question begins in one language, and goes on with foreign words, is in that one.
OPENING_CONFIDENCE: Final = 0.85
# The probability of English that the words before a name need: "restaurants in" may also be German.
SURE_ENGLISH: Final = 0.95
# The probability from which a request in a language outweighs an English beginning or ending.
LIKELY: Final = 0.01
# How many languages a detection lists.
CANDIDATES: Final = 3


class LanguageDetector:
    """Detects the language of a prompt. Never raises, whatever the text.

    To make the first one takes about a second, since it loads the tables, so that no request has to wait for them.

    Args:
        languages: the languages that it may find.
        threshold: the probability below which it finds none.
    """

    def __init__(self, languages: Iterable[str] = SERVED_LANGUAGES, threshold: float = THRESHOLD) -> None:
        self.languages: Final = frozenset(languages)
        self.threshold: Final = threshold
        for script in SCRIPTS:
            if script.neighbours:
                classifier(script)
        japanese_probability("\u6771")
        phrase_language("")
        load_words()

    def detect(self, text: str, earlier: Iterable[str] = ()) -> Detection:
        """The language of the user's own words in ``text``.

        Args:
            text: the user's newest turn, or a rendered chat, whose own earlier turns then count before ``earlier``.
            earlier: the user's earlier turns, the newest first. They decide where ``text`` is short or undecided.
        """
        return in_conversation(self._turns(text, earlier))

    def _turns(self, text: str, earlier: Iterable[str]) -> Iterator[Reading]:
        for given in (text, *earlier):
            for turn in user_turns(given) or [given]:
                yield read_turn(turn, self._read)

    def _read(self, text: str) -> Reading:
        """The language of one passage."""
        text = excerpt(text)
        script, letters = script_of(text)
        if script is None:
            return Reading(replace(UNDECIDED, text=text), letters)
        if (phrase := phrase_language(text)) is not None:
            return self._answer(Rule.CLASSIFIER, _certainly(phrase, PHRASE_CONFIDENCE), text, letters)
        rule, ranking = _rank(script, only_letters_of(script, text))
        if script is LATIN and (opening := _opening(text, ranking)) is not None:
            return self._answer(Rule.CLASSIFIER, _certainly(opening, OPENING_CONFIDENCE), text, letters)
        believable = believed(ranking.probability, text, letters, script_alone=rule is Rule.SCRIPT)
        if believable < ranking.probability:
            ranking = _lowered(ranking, believable)
        return self._answer(rule, ranking, text, letters)

    def _answer(self, rule: Rule, ranking: Ranking, text: str, letters: int) -> Reading:
        confidence = round(ranking.probability, 4)
        if confidence >= self.threshold and ranking.language in self.languages:
            return Reading(Detection(ranking.language, confidence, rule, text, ranking.candidates), letters)
        return Reading(Detection(None, confidence, Rule.UNDECIDED, text, ranking.candidates), letters)


def _rank(script: Script, text: str) -> tuple[Rule, Ranking]:
    """Rank the languages of ``text``, which is written in ``script``; `Rule.SCRIPT` if the script alone decides."""
    if script is EAST_ASIAN:
        return Rule.SCRIPT, _east_asian(japanese_probability(text))
    if not script.neighbours:
        return Rule.SCRIPT, _certainly(script.languages[0], 1.0)
    return Rule.CLASSIFIER, classifier(script).rank(text, CANDIDATES)


def _opening(text: str, ranking: Ranking) -> str | None:
    """The language of the question at the beginning or end of ``text``, whose rest may be a foreign name; else None."""
    best = ranking.candidates[0][0] if ranking.candidates else None
    if ranking.probability < SURE_ENGLISH and (asking := lone_request_language(text)) is not None:
        return asking
    if best == ENGLISH:
        return opening_language(text)
    asked = best == ranking.language and asks_about_name(text)
    if asked or opens_in_english(text) or closes_in_english(text) or _is_english_before_name(text):
        named = [name for name, _ in ranking.candidates] or LATIN.languages
        likely = [name for name, share in ranking.candidates if share >= LIKELY] or LATIN.languages
        wanted = any(is_request_of(text, language) for language in likely)
        return None if wanted or holds_question_word(text, named) else ENGLISH
    return None if ranking.candidates else closing_language(text)


def _is_english_before_name(text: str) -> bool:
    """Whether ``text`` is English but for the name at its end."""
    if (beginning := before_name(text)) is None:
        return False
    ranking = classifier(LATIN).rank(beginning, CANDIDATES)
    return ranking.language == ENGLISH and ranking.probability >= SURE_ENGLISH


def _certainly(language: str, probability: float) -> Ranking:
    return Ranking(language, probability, ((language, probability),))


def _lowered(ranking: Ranking, probability: float) -> Ranking:
    """``ranking`` with a lower ``probability`` of its language. The others do not gain what it loses."""
    candidates = tuple(
        (name, round(share * probability / ranking.probability, 4)) for name, share in ranking.candidates
    )
    return Ranking(ranking.language, probability, candidates)


def _east_asian(japanese: float) -> Ranking:
    found = sorted((("ja", round(japanese, 4)), ("zh", round(1 - japanese, 4))), key=lambda pair: -pair[1])
    return Ranking(*found[0], tuple(found))
