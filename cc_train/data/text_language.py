"""The language that a row's text is surely in, as evidence for or against its code."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache
from typing import Any

import pycountry

from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector
from cc_core.language.scripts import SCRIPTS, script_of
from cc_train.data.countries import country_languages, country_name, language_of_script, scripts_of

# The probability from which a language is sure: names and numbers look like many languages.
SURE = 0.95
# Letters from which a language that is not served is believed. Short texts look like many of them.
_FEWEST_LETTERS = 20
_READ = 500  # characters in which a script is looked for
#: Languages that the classifier can tell from others.
KNOWN = frozenset(name for script in SCRIPTS for name in (*script.languages, *script.neighbours))
#: Languages that look alike, or are two names of one.
ALIKE = ({"da", "no", "nb", "nn"}, {"id", "ms"}, {"cs", "sk"}, {"gl", "pt"}, {"hi", "mr", "ne", "sa"})
_SAME_SCRIPT = {"Hang": {"Kore", "Jamo"}, "Hani": {"Hans", "Hant", "Jpan", "Kore"}, "Jpan": {"Hira", "Kana"}}
_NAMED_OTHERWISE = {"CJK": "Hani", "HIRAGANA": "Jpan", "KATAKANA": "Jpan", "LATIN": "Latn", "GREEK": "Grek"}


@cache
def _detector() -> LanguageDetector:
    return LanguageDetector(threshold=SURE)


def sure_language(text: str) -> str | None:
    """ISO 639-1 of the language that ``text`` is surely written in, served or not; None if it may be another."""
    found = _detector().detect(text)
    if found.language:
        return found.language
    script = text_script(text)
    if script_of(text)[0] is None:
        return language_of_script(script) if script else None
    best = found.scores[0] if found.scores else None
    if best and best[1] >= SURE and best[0] not in SERVED_LANGUAGES and len(best[0]) == 2:
        return best[0] if sum(map(str.isalpha, text)) >= _FEWEST_LETTERS else None
    return None


def text_script(text: str) -> str | None:
    """ISO 15924 code of the script that most letters of ``text`` are in."""
    counts = Counter(
        unicodedata.name(letter, "").partition(" ")[0] for letter in text[:_READ] if letter.isalpha() and letter != "ー"
    )
    return _script_code(counts.most_common(1)[0][0]) if counts else None


@cache
def _script_code(name: str) -> str | None:
    if name in _NAMED_OTHERWISE:
        return _NAMED_OTHERWISE[name]
    codes = [script.alpha_4 for script in pycountry.scripts if script.name.upper().startswith(name)]
    return min(codes, default=None)


def disagreement(lang: str, text: str) -> str | None:
    """What is wrong with ``lang`` as the code of ``text``, and the likely code; None if nothing surely is."""
    found = sure_language(text)
    if found is None or found == lang or any({lang, found} <= alike for alike in ALIKE):
        return None
    said = f"lang is {lang}, and instruction looks like {found}"
    if lang not in SERVED_LANGUAGES and found in country_languages(lang):
        own: Any = pycountry.languages.get(alpha_2=lang)  # every code of a row is one of pycountry's
        return f"{said} (lang {lang} is {own.name}; the country {country_name(lang)} has {found})"
    return said if lang in KNOWN or _other_script(lang, text) else None


def _other_script(lang: str, text: str) -> bool:
    """Whether ``text`` is in a script that ``lang`` is not written in. Latin letters write every language."""
    script, own = text_script(text), scripts_of(lang)
    if script in (None, "Latn") or not own:
        return False
    return not ({script} | _SAME_SCRIPT.get(str(script), set())) & own
