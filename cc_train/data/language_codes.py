"""ISO 639-1 codes, and the code that was probably meant by something else."""

from __future__ import annotations

import re
from functools import lru_cache

import pycountry

_CODE = re.compile(r"[a-z]{2}")


@lru_cache(maxsize=4096)
def code_problem(code: str) -> str | None:
    """The error for a code that is not ISO 639-1, with the code that was probably meant; None if it is."""
    if _CODE.fullmatch(code) and pycountry.languages.get(alpha_2=code):
        return None
    problem = f"{code[:40]!r} is no ISO 639-1 code"
    meant = _meant(code)
    return f"{problem}; did you mean {meant!r}?" if meant else problem


def _meant(text: str) -> str | None:
    """The code for a language's name, a code of three letters, or a tag with a region or script; None if unknown."""
    for part in (text.strip(), re.split(r"[-_ ]", text.strip())[0]):
        if pycountry.languages.get(alpha_2=part.lower()):
            return part.lower()
        for name in (part.lower(), f"{part} (macrolanguage)"):
            try:
                code: str | None = getattr(pycountry.languages.lookup(name), "alpha_2", None)
            except LookupError:
                continue
            if code:
                return code
    return _OF_COUNTRIES.get(text.lower())


# Countries' codes that are no language's code, but are often written for one.
_OF_COUNTRIES = {"jp": "ja", "cn": "zh", "gr": "el", "cz": "cs", "dk": "da", "ua": "uk", "vn": "vi"}
