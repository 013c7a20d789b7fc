"""ISO 639-1 codes, and what somebody who wrote something else may have meant."""

from __future__ import annotations

import re
from functools import lru_cache

import pycountry

_CODE = re.compile(r"[a-z]{2}")


@lru_cache(maxsize=4096)
def code_problem(code: str) -> str | None:
    """Why ``code`` is no ISO 639-1 code, with the likeliest one meant; None if it is one."""
    if _CODE.fullmatch(code) and pycountry.languages.get(alpha_2=code):
        return None
    problem = f"{code[:40]!r} is no ISO 639-1 code"
    meant = _meant(code)
    return f"{problem}; did you mean {meant!r}?" if meant else problem


def _meant(text: str) -> str | None:
    """The code of a name, of a code of three letters, or of a tag with a region or script."""
    for part in (text.strip(), re.split(r"[-_ ]", text.strip())[0]):
        if pycountry.languages.get(alpha_2=part.lower()):
            return part.lower()
        for name in (part.lower(), f"{part} (macrolanguage)"):
            try:
                code = getattr(pycountry.languages.lookup(name), "alpha_2", None)
            except LookupError:
                continue
            if code:
                return code
    return _OF_COUNTRIES.get(text.lower())


# Codes of countries that are no language's, and stand for one often enough.
_OF_COUNTRIES = {"jp": "ja", "cn": "zh", "gr": "el", "cz": "cs", "dk": "da", "ua": "uk", "vn": "vi"}
