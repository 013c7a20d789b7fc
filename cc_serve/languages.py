"""Which of the served languages a text is written in, or none: a wrong answer is worse than none.

The script decides first, from Unicode ranges. Where several languages share a script, py3langid chooses among
them and among their common neighbours that are not served, so that Italian is undecided and not Spanish.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SERVED_LANGUAGES: Final = (
    *("ar", "bn", "de", "el", "en", "es", "eu", "fr", "hi", "id", "ja"),
    *("ko", "pt", "ru", "sw", "te", "th", "tr", "ur", "vi", "yo", "zh"),
)

# Text beyond this many characters from either end is not looked at, which bounds the cost of any prompt.
WINDOW: Final = 4_000
# A paragraph of fewer letters, such as "Answer:", says too little on its own.
SHORTEST_PARAGRAPH: Final = 12
# A share of kana that Chinese text never has and Japanese text nearly always has.
KANA_SHARE: Final = 0.1
# How many candidates a detection lists.
CANDIDATES: Final = 3

_KANA = r"\u3041-\u309f\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@dataclass(frozen=True)
class Script:
    """A writing system: how to find its words, and which languages use it.

    Args:
        words: pattern of a run of its letters. A lone letter of an alphabet is mathematics, not language.
        languages: those that a connection may be served for.
        neighbours: others that would be mistaken for them.
        weight: how many Latin letters one of its characters is worth.
    """

    words: re.Pattern[str]
    languages: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    weight: int = 1


def _script(letters: str, languages: str, neighbours: str = "", *, shortest: int = 2, weight: int = 1) -> Script:
    pattern = re.compile(f"[{letters}]{{{shortest},}}")
    return Script(pattern, tuple(languages.split()), tuple(neighbours.split()), weight)


LATIN: Final = _script(
    r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u036f\u1e00-\u1eff",
    "de en es eu fr id pt sw tr vi yo",
    "af ca cs cy da et fi ha hr hu ig is it lt lv mg nl no pl ro rw sk so sq sv tl uz zu zxx",
)
EAST_ASIAN: Final = _script(_HAN + _KANA, "ja zh", shortest=1, weight=3)
SCRIPTS: Final = (
    LATIN,
    EAST_ASIAN,
    _script(r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3", "ko", shortest=1, weight=3),
    _script(r"\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f", "ar ur", "fa ku ps sdh ug"),
    _script(r"\u0400-\u052f", "ru", "ba be bg kk ky mk mn sr tg tt uk"),
    _script(r"\u0900-\u0963\u0971-\u097f", "hi", "gom mr ne sa"),
    _script(r"\u0980-\u09e3\u09f0-\u09f1", "bn", "as"),
    _script(r"\u0c00-\u0c63", "te"),
    _script(r"\u0e01-\u0e4e", "th"),
    _script(r"\u0370-\u03ff\u1f00-\u1fff", "el"),
)

_KANA_CHARACTERS = re.compile(f"[{_KANA}]")
_HAN_CHARACTERS = re.compile(f"[{_HAN}]")
_NOT_LANGUAGE = re.compile(r"(?:https?://|www\.)\S+|\b[\w.+-]{1,64}@\S+|`[^`\n]+`", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n\s*\n")


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
        confidence: probability of the best candidate, decided or not.
        rule: what decided.
        text: the part of the text that was judged, of at most two windows.
        scores: probabilities of the best few candidates, the best first.
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


UNDECIDED: Final = Detection(None, 0.0)


class LanguageDetector:
    """Detects the language of a prompt. Never raises, whatever the text.

    Args:
        languages: what may be answered.
        threshold: the probability below which the answer is None.
    """

    def __init__(self, languages: Sequence[str] = SERVED_LANGUAGES, threshold: float = 0.5) -> None:
        self.languages = frozenset(languages)
        self.threshold = threshold

    def detect(self, text: str) -> Detection:
        """The language of the instruction in ``text``.

        Prompts mix languages: an English instruction over a quoted passage, or the reverse. The instruction
        is the shorter of the first and last paragraph, where either says enough to be decided.
        """
        text = _prose(text)
        paragraphs = _BLANK_LINES.split(text)
        if len(paragraphs) == 1:
            paragraphs = text.split("\n")
        if len(paragraphs) > 1:
            edges = [self._read(paragraphs[0]), self._read(paragraphs[-1])]
            decided = [edge for edge in edges if edge.detection.language and edge.letters >= SHORTEST_PARAGRAPH]
            if decided:
                return min(decided, key=lambda edge: edge.letters).detection
        return self._read(text).detection

    def _read(self, text: str) -> _Reading:
        words = {script: script.words.findall(text) for script in SCRIPTS}
        letters = {script: script.weight * sum(map(len, found)) for script, found in words.items()}
        total = sum(letters.values())
        if letters[LATIN] < total:
            # Names and acronyms keep their Latin letters in text of any other script.
            letters[LATIN] -= sum(len(word) for word in words[LATIN][1:] if word[0].isupper())
        script = max(SCRIPTS, key=letters.__getitem__)
        if letters[script] == 0:
            return _Reading(replace(UNDECIDED, text=text), 0)
        only_script = text if letters[script] == total else " ".join(words[script])
        return _Reading(replace(self._choose(script, only_script), text=text), total)

    def _choose(self, script: Script, text: str) -> Detection:
        """Choose among the languages of ``script``, in which ``text`` is written."""
        if script is EAST_ASIAN:
            return self._answer([("ja" if _kana_share(text) > KANA_SHARE else "zh", 1.0)], Rule.SCRIPT)
        if not script.neighbours:
            return self._answer([(script.languages[0], 1.0)], Rule.SCRIPT)
        ranking = _classifier(script.languages + script.neighbours).rank(text)
        if len(script.languages) == 1:
            # The script alone says nearly all: only a confident neighbour can contradict it.
            rival = next(answer for answer in ranking if answer[0] in script.neighbours)
            return self._answer([(script.languages[0], 1.0 - rival[1]), rival], Rule.SCRIPT)
        return self._answer([answer for answer in ranking if answer[0] in script.languages], Rule.CLASSIFIER)

    def _answer(self, candidates: Sequence[tuple[str, float]], rule: Rule) -> Detection:
        scores = tuple((language, round(probability, 4)) for language, probability in candidates[:CANDIDATES])
        language, confidence = scores[0]
        if confidence < self.threshold or language not in self.languages:
            return Detection(None, confidence, Rule.UNDECIDED, scores=scores)
        return Detection(language, confidence, rule, scores=scores)


def _prose(text: str) -> str:
    """``text`` within the window, without code fences, inline code, URLs and e-mail addresses."""
    text = " ".join(text.split("```")[::2])
    if len(text) > 2 * WINDOW:
        text = f"{text[:WINDOW]}\n{text[-WINDOW:]}"
    return _NOT_LANGUAGE.sub(" ", text).strip()


def _kana_share(text: str) -> float:
    kana = len(_KANA_CHARACTERS.findall(text))
    return kana / (kana + len(_HAN_CHARACTERS.findall(text)))


@cache
def _model() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _classifier(languages: tuple[str, ...]) -> LanguageIdentifier:
    # A copy shares the model's large tables and has its own choice of languages.
    classifier = copy.copy(_model())
    classifier.set_languages(languages)
    return classifier
