"""The words of questions and requests, in every served language but English."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from cc_core.language.normalisation import normalise, unaccented

_DATA: Final = Path(__file__).parent / "data"
# They write no spaces between words, or join endings to them.
_UNSPACED: Final = frozenset(("ja", "ko", "th", "zh"))
# Their question words ask at the beginning only; elsewhere they are relative pronouns.
_ASKING_FIRST: Final = frozenset(("de", "el", "es", "fr", "pt", "ru"))
# Question words that are also English words.
_ENGLISH_TOO: Final = frozenset(("was", "hat", "nor", "may", "ai", "hay", "como", "gi"))
# The characters of a word, the vowel signs of India among them.
_OF_WORDS: Final = r"[\w\u0300-\u036f\u0900-\u0dff]"
_FIRST: Final = r"(?:^|[.!?¿¡,;:…\n])[^\w\n]{0,3}"
# How many characters of a long text are read, at either end.
_READ: Final = 100
# Their verbs stand last. In other languages, only a request of several words can be told from a name at the end.
_VERB_LAST: Final = frozenset(("eu", "tr"))
_QUESTION_ENDS: Final = ("?", "？", "؟", ";")


def load_words() -> None:
    """Read the words and compile their patterns now, so that no request waits for it."""
    _any_language()
    _openings()
    _requests_of_one()
    _patterns("text_tasks.txt", anywhere=False)
    _patterns("requests.txt", anywhere=False)
    for anywhere in (False, True):
        _patterns("questions.txt", anywhere=anywhere)


def is_request(text: str) -> bool:
    """Whether ``text``, from `normalise`, holds a request in any language."""
    return any(_finds(pattern, text) for pattern in _any_language())


def is_request_of(text: str, language: str | None) -> bool:
    """Whether ``text`` holds a request in ``language``."""
    return _finds(_patterns("requests.txt", anywhere=False).get(language), text)


def is_lone_request_of(text: str, language: str | None) -> bool:
    """Whether ``text`` is a request of one word in ``language``, such as "Explique"."""
    pattern = _patterns("requests.txt", anywhere=False).get(language)
    return pattern is not None and " " not in text.strip() and pattern.fullmatch(text.strip()) is not None


def is_text_task(text: str, language: str | None) -> bool:
    """Whether ``text`` asks in ``language`` for work on a text: to translate, summarise or correct it."""
    return _finds(_patterns("text_tasks.txt", anywhere=False).get(language), text)


def is_question(text: str, language: str | None) -> bool:
    """Whether ``text`` is a question by the words of ``language``, with or without a question mark."""
    return _finds(_patterns("questions.txt", anywhere=False).get(language), text)


def holds_question_word(text: str, languages: Iterable[str]) -> bool:
    """Whether ``text`` has a question word of one of ``languages`` anywhere."""
    patterns = _patterns("questions.txt", anywhere=True)
    return any(_finds(patterns.get(language), text) for language in languages)


def opening_language(text: str) -> str | None:
    """The language whose request of two or more words begins ``text``; None if there is none, or several languages."""
    any_opening, openings = _openings()
    if any_opening.match(text) is None:
        return None
    found = [language for language, pattern in openings.items() if pattern.match(text)]
    return found[0] if len(found) == 1 else None


def closing_language(text: str) -> str | None:
    """The language whose request ends ``text``, as in "… nedir"; None without a request."""
    words = text.lower().rstrip(" ?!.").split()
    for count in (1, 2, 3):
        language = _requests_of_one().get(" ".join(words[-count:]))
        if language is not None and (count > 1 or language in _VERB_LAST):
            return language
    return None


def lone_request_language(text: str) -> str | None:
    """The language in which ``text`` is a request of one word; None if there is none, or several languages."""
    word = text.strip().lower()
    return None if " " in word else _requests_of_one().get(word)


def asks(text: str) -> bool:
    """Whether ``text`` ends as a question does."""
    return text.rstrip("\"'”’»)]*_ \n").endswith(_QUESTION_ENDS)


def wants_something(text: str, language: str | None) -> bool:
    """Whether ``text``, which is in ``language`` and not English, is a question or a request."""
    return asks(text) or is_request(text) or is_question(text, language)


def _finds(pattern: re.Pattern[str] | None, text: str) -> bool:
    """Whether ``pattern`` is in ``text``. Of a long text, only the ends are searched: what is sought is short."""
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]}\n{text[-_READ:]}"
    return pattern is not None and pattern.search(text) is not None


def _words_of(name: str) -> dict[str, set[str]]:
    lines = (line.partition(": ") for line in (_DATA / name).read_text("utf-8").splitlines() if line[:1] != "#")
    return {language: set(map(normalise, words.split(", "))) for language, _, words in lines}


@cache
def _any_language() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The requests of languages with spaces, and those of languages without. One pattern for both would be slower."""
    listed = _words_of("requests.txt")
    unspaced = {word for language in _UNSPACED for word in listed[language]}
    spaced = {word for language, words in listed.items() if language not in _UNSPACED for word in words}
    return re.compile(_as_words(spaced), re.IGNORECASE), re.compile(_any_of(unspaced), re.IGNORECASE)


@cache
def _openings() -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
    """Patterns for requests of several words that begin a text: one for all languages, and one for each."""
    longer = {
        language: {word for word in words if " " in word} for language, words in _words_of("requests.txt").items()
    }

    def pattern(words: set[str]) -> re.Pattern[str]:
        return re.compile(rf"[^\w\n]{{0,3}}{_as_words(words)}", re.IGNORECASE)

    each = {language: pattern(words) for language, words in longer.items() if words}
    return pattern(set().union(*longer.values())), each


@cache
def _requests_of_one() -> dict[str, str]:
    """The language of each request that only one language lists, of those that write spaces."""
    listed = [(word, language) for language, words in _words_of("requests.txt").items() for word in words]
    times = Counter(word for word, _ in listed)
    return {word: language for word, language in listed if times[word] == 1 and language not in _UNSPACED}


@cache
def _patterns(name: str, *, anywhere: bool = True) -> dict[str | None, re.Pattern[str]]:
    """A pattern for each language in the file ``name``."""
    found: dict[str | None, re.Pattern[str]] = {}
    for language, words in _words_of(name).items():
        if anywhere:
            words = (words | set(map(unaccented, words))) - _ENGLISH_TOO
        form = _any_of(words) if language in _UNSPACED else _as_words(words)
        if language in _ASKING_FIRST and name == "questions.txt" and not anywhere:
            form = _FIRST + form
        found[language] = re.compile(form, re.IGNORECASE)
    return found


def _as_words(words: set[str]) -> str:
    return rf"(?<!{_OF_WORDS}){_any_of(words)}(?!{_OF_WORDS})"


def _any_of(words: Iterable[str]) -> str:
    """A pattern that matches any of ``words``. Words that begin alike share a prefix, so that matching stays fast."""
    endings: dict[str, set[str]] = {}
    for word in words:
        endings.setdefault(word[:1], set()).add(word[1:])
    whole = endings.pop("", None) is not None
    forms = [
        f"{'[ -]' if first == ' ' else re.escape(first)}{_any_of(rest)}" for first, rest in sorted(endings.items())
    ]
    if not forms:
        return ""
    return f"(?:{'|'.join(forms)}){'?' if whole else ''}"
