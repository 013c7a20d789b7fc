"""ISO 639-1 codes, and the code that was probably meant by something else."""

from __future__ import annotations

import re
from functools import cache, lru_cache

import pycountry
from babel import Locale, UnknownLocaleError

from cc_train.data.countries import country_languages, preferred

_CODE = re.compile(r"[a-z]{2}")
_WITHDRAWN = {"sh"}  # which pycountry still has
# Names that neither ISO 639 nor CLDR has.
_OTHER_NAMES = {
    "farsi": "fa",
    "mandarin": "zh",
    "cantonese": "zh",
    "flemish": "nl",
    "castilian": "es",
    "filipino": "tl",
}


@lru_cache(maxsize=4096)
def code_problem(code: str, text_language: str | None = None) -> str | None:
    """The error for a code that is not ISO 639-1, with the code that was probably meant; None if it is.

    Args:
        code: as a row has it.
        text_language: what the row's text looks like; decides where a code may mean several languages.
    """
    if _is_code(code):
        return None
    problem = f"{code[:40]!r} is no ISO 639-1 code"
    candidates = _meant(code)
    if text_language in candidates:
        candidates = [text_language]
    elif not candidates and text_language:
        return f"{problem}; the text looks like {text_language!r}"
    return f"{problem}; did you mean {' or '.join(map(repr, candidates[:2]))}?" if candidates else problem


def misspelt(code: str) -> str | None:
    """The error for something else than ISO 639-1 that was probably meant as a language; None for all else."""
    return code_problem(code) if not _is_code(code) and _meant(code) else None


def _is_code(code: str) -> bool:
    return bool(_CODE.fullmatch(code) and code not in _WITHDRAWN and pycountry.languages.get(alpha_2=code))


def _meant(text: str) -> list[str]:
    """The codes that may be meant, the likeliest first.

    ``text`` may be a name, a code of three letters, a deprecated one, a tag with a region or script, or the code of a
    country.
    """
    text = text.strip()
    first = re.split(r"[-_ ]", text)[0]
    found: list[str] = []
    for part in (text, first):
        code = part.lower()
        own = [code] if _is_code(code) else []
        countries = list(country_languages(code)[:1]) if len(code) == 2 else []
        # A country's code is written in capitals, and a language's is not.
        found += [*countries, *own] if part.isupper() and own and own[0] not in country_languages(code) else own
        found += [preferred(code)] if _is_code(preferred(code)) else []
        found += _named(part) + countries
    return list(dict.fromkeys(found))


def _named(text: str) -> list[str]:
    """The code for a code of three letters, or for a name in English or in the language itself."""
    for name in (text, f"{text} (macrolanguage)"):
        try:
            code = getattr(pycountry.languages.lookup(name), "alpha_2", None)
        except LookupError:
            continue
        if code:
            return [str(code)]
    name = text.casefold()
    if len(name) < 3:
        return []
    known = _OTHER_NAMES.get(name) or _english_names().get(name) or _own_names().get(name)
    return [known] if known else []


@cache
def _english_names() -> dict[str, str]:
    names = {name.casefold(): tag for tag, name in Locale("en").languages.items() if _is_code(tag)}
    for language in pycountry.languages:
        if code := getattr(language, "alpha_2", None):
            names |= {name.casefold(): code for name in language.name.split("; ")}
    return names


@cache
def _own_names() -> dict[str, str]:
    """Codes by the languages' names in the language itself; takes two seconds to make."""
    found = {}
    for tag in filter(_is_code, Locale("en").languages):
        try:
            found[(Locale(tag).display_name or tag).casefold()] = tag
        except UnknownLocaleError:  # CLDR has no data for it
            continue
    return found
