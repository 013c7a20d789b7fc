"""Writing systems: their letters, their languages, and which one a text is written in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from cc_core.language.english import opens_in_english
from cc_core.language.requests import holds_question_word

KANA = r"\u3041-\u309f\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@dataclass(frozen=True, eq=False)
class Script:
    """A writing system.

    Args:
        name: in lower case.
        letters: the letters, as the inside of a character class of a regular expression.
        languages: the served languages that use the script.
        neighbours: languages of the script that are not served, and would be mistaken for those that are.
        shortest: the fewest letters of a word. A lone letter of an alphabet is mathematics, not language.
        weight: how many Latin letters one character counts for.
    """

    name: str
    letters: str
    languages: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    shortest: int = 2
    weight: int = 1

    @cached_property
    def words(self) -> re.Pattern[str]:
        """Matches a word."""
        return re.compile(f"[{self.letters}]{{{self.shortest},}}")


def _script(
    name: str, letters: str, languages: str, neighbours: str = "", *, shortest: int = 2, weight: int = 1
) -> Script:
    return Script(name, letters, tuple(languages.split()), tuple(neighbours.split()), shortest, weight)


LATIN: Final = _script(
    "latin",
    r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u036f\u1e00-\u1eff",
    "de en es eu fr id pt sw tr vi yo",
    "af az ca cs cy da et fi gl ha hi-Latn hr hu ig is it lt lv mg ms nl no pl ro rw sk sl so sq sv tl uz zu zxx",
)
EAST_ASIAN: Final = _script("east asian", HAN + KANA, "ja zh", shortest=1, weight=3)
ARABIC: Final = _script("arabic", r"\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f", "ar ur", "fa ku ps sdh ug")
CYRILLIC: Final = _script("cyrillic", r"\u0400-\u052f", "ru", "ba be bg kk ky mk mn sr tg tt uk")
DEVANAGARI: Final = _script("devanagari", r"\u0900-\u0963\u0971-\u097f", "hi", "gom mr ne sa")
THAI: Final = _script("thai", r"\u0e01-\u0e4e", "th")
GREEK: Final = _script("greek", r"\u0370-\u03ff\u1f00-\u1fff", "el")
SCRIPTS: Final = (
    LATIN,
    EAST_ASIAN,
    _script("hangul", r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3", "ko", shortest=1, weight=3),
    ARABIC,
    CYRILLIC,
    DEVANAGARI,
    _script("bengali", r"\u0980-\u09e3\u09f0-\u09f1", "bn", "as"),
    _script("telugu", r"\u0c00-\u0c63", "te"),
    THAI,
    GREEK,
)

# A question may quote an English title, with at most this many Latin letters to each of its own script.
FOREIGN_TITLE: Final = 3

_LETTERS_ELSEWHERE = re.compile(f"[{''.join(script.letters for script in SCRIPTS if script is not LATIN)}]")
_FIRST_LETTER = re.compile(f"[{''.join(script.letters for script in SCRIPTS)}]")
# For each script but the Latin: its letters, and those that are neither its own nor Latin.
_ITS_LETTERS: Final = {script: re.compile(f"[{script.letters}]") for script in SCRIPTS[1:]}
_LETTERS_OF_OTHERS: Final = {
    script: re.compile(f"[{''.join(other.letters for other in _ITS_LETTERS if other is not script)}]")
    for script in _ITS_LETTERS
}


@lru_cache(maxsize=1 << 14)
def _script_of_letter(letter: str) -> Script:
    return next(script for script, letters in _ITS_LETTERS.items() if letters.match(letter))


def script_of(text: str) -> tuple[Script | None, int]:
    """The script of the language that ``text`` is in, and how many letters it has, weighted by `Script.weight`.

    The script is None where there are no letters, or where Latin and another script are both possible.
    """
    words = LATIN.words.findall(text)
    latin = len("".join(words))
    if text.isascii() or not (elsewhere := _LETTERS_ELSEWHERE.search(text)):
        return (LATIN if latin else None), latin
    found = _script_of_letter(elsewhere[0])
    # One search shows that there is no third script; counting its words would take a search for each script.
    several = _LETTERS_OF_OTHERS[found].search(text, elsewhere.end())
    others = {
        script: script.weight * len("".join(script.words.findall(text)))
        for script in (_ITS_LETTERS if several else (found,))
    }
    other = max(others, key=others.__getitem__)
    total = latin + sum(others.values())
    if others[other] == 0:
        return (LATIN if latin else None), total
    if latin and opens_in_english(text) and (_ends_in_latin(text) or not holds_question_word(text, other.languages)):
        return LATIN, total
    # Names and acronyms keep their Latin letters in text of any other script.
    latin -= sum(len(word) for word in words[1:] if word[0].isupper())
    if latin <= others[other]:
        return other, total
    # Most letters are Latin: a foreign question about an English title, or an English question about foreign words.
    first = _FIRST_LETTER.search(text)
    if first and not LATIN.words.match(first[0] * 2):
        return other, total
    if _ends_in_latin(text):
        return LATIN, total
    if holds_question_word(text, other.languages):
        return other, total
    return (other if FOREIGN_TITLE * others[other] >= latin else None), total


def _ends_in_latin(text: str) -> bool:
    last = _FIRST_LETTER.search(text[::-1])
    return last is not None and LATIN.words.match(last[0] * 2) is not None


def only_letters_of(script: Script, text: str) -> str:
    """``text`` without the words of other scripts; unchanged where it has none."""
    if script is LATIN and (text.isascii() or not _LETTERS_ELSEWHERE.search(text)):
        return text
    return " ".join(script.words.findall(text))
