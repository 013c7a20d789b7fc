"""Writing systems: how to find their words, and which languages use them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_KANA = r"\u3041-\u309f\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@dataclass(frozen=True, eq=False)
class Script:
    """A writing system.

    Args:
        name: in lower case.
        letters: its letters as the inside of a regular expression's class.
        languages: those that a connection may be served for.
        neighbours: others that would be mistaken for them.
        shortest: letters that make a word. A lone letter of an alphabet is mathematics, not language.
        weight: how many Latin letters one of its characters is worth.
    """

    name: str
    letters: str
    languages: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    shortest: int = 2
    weight: int = 1

    @cached_property
    def words(self) -> re.Pattern[str]:
        """Finds its words."""
        return re.compile(f"[{self.letters}]{{{self.shortest},}}")


def _script(
    name: str, letters: str, languages: str, neighbours: str = "", *, shortest: int = 2, weight: int = 1
) -> Script:
    return Script(name, letters, tuple(languages.split()), tuple(neighbours.split()), shortest, weight)


LATIN: Final = _script(
    "latin",
    r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u036f\u1e00-\u1eff",
    "de en es eu fr id pt sw tr vi yo",
    "af ca cs cy da et fi gl ha hi-Latn hr hu ig is it lt lv mg ms nl no pl ro rw sk sl so sq sv tl uz zu zxx",
)
EAST_ASIAN: Final = _script("east asian", _HAN + _KANA, "ja zh", shortest=1, weight=3)
ARABIC: Final = _script("arabic", r"\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f", "ar ur", "fa ku ps sdh ug")
CYRILLIC: Final = _script("cyrillic", r"\u0400-\u052f", "ru", "ba be bg kk ky mk mn sr tg tt uk")
DEVANAGARI: Final = _script("devanagari", r"\u0900-\u0963\u0971-\u097f", "hi", "gom mr ne sa")
SCRIPTS: Final = (
    LATIN,
    EAST_ASIAN,
    _script("hangul", r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3", "ko", shortest=1, weight=3),
    ARABIC,
    CYRILLIC,
    DEVANAGARI,
    _script("bengali", r"\u0980-\u09e3\u09f0-\u09f1", "bn", "as"),
    _script("telugu", r"\u0c00-\u0c63", "te"),
    _script("thai", r"\u0e01-\u0e4e", "th"),
    _script("greek", r"\u0370-\u03ff\u1f00-\u1fff", "el"),
)

_KANA_CHARACTERS = re.compile(f"[{_KANA}]")
_HAN_CHARACTERS = re.compile(f"[{_HAN}]")


def kana_share(text: str) -> float:
    """The share of kana among the kana and Han characters of ``text``, which has at least one of them."""
    kana = len(_KANA_CHARACTERS.findall(text))
    return kana / (kana + len(_HAN_CHARACTERS.findall(text)))
