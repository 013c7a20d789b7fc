"""Which languages a country's code is typed for, by the Unicode CLDR. ``kr``, ``br`` and ``se`` are languages, too."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pycountry
from babel.core import get_global

_OFFICIAL = ("official", "de_facto_official")
_SHARE = 10.0  # per cent of a country's people; fewer do not make a language its own


def country_name(code: str) -> str | None:
    """The short English name of the country with this code of two letters, in any case."""
    country = pycountry.countries.get(alpha_2=code.upper())
    return getattr(country, "common_name", country.name) if country else None


@cache
def country_languages(code: str) -> tuple[str, ...]:
    """ISO 639-1 codes of a country's official languages, its own before those it shares with many others.

    Args:
        code: of the country, two letters in any case.
    """
    shared = _territories_by_language()
    spoken = {
        language: share for language, share in _official(code.upper()).items() if share >= _SHARE and len(language) == 2
    }
    return tuple(sorted(spoken, key=lambda language: -spoken[language] / shared[language]))


def _official(territory: str) -> dict[str, float]:
    """The share of a territory's people that use each official language, in per cent."""
    found: dict[str, float] = {}
    for tag, facts in get_global("territory_languages").get(territory, {}).items():
        language = preferred(tag.split("_")[0])
        if facts["official_status"] in _OFFICIAL:
            found[language] = max(found.get(language, 0.0), facts["population_percent"])
    return found


@cache
def _territories_by_language() -> Counter[str]:
    """In how many territories a language is official."""
    return Counter(language for territory in get_global("territory_languages") for language in _official(territory))


def preferred(code: str) -> str:
    """The code in use today for a deprecated code, or for one language of a macrolanguage: ``he`` for ``iw``."""
    # ISO 639-1 has codes for these two; CLDR writes them in another way.
    kept = {"tl", "tw"}
    replaced: str = code if code in kept else get_global("language_aliases").get(code, code).split("_")[0]
    return "tl" if replaced == "fil" else replaced


@cache
def scripts_of(language: str) -> frozenset[str]:
    """Codes of the scripts that a language is written in; empty if CLDR does not know it."""
    full = (tag.split("_") for pair in get_global("likely_subtags").items() for tag in pair)
    return frozenset(parts[1] for parts in full if parts[0] == language and len(parts) > 1 and len(parts[1]) == 4)


def language_of_script(script: str) -> str | None:
    """The language that most texts in a script are in: ``hy`` for ``Armn``."""
    tag = get_global("likely_subtags").get(f"und_{script}")
    return tag.split("_")[0] if tag else None
