"""Cuts a text into pieces that may be its instruction: paragraphs, sentences, around a colon, outside of quotations."""

from __future__ import annotations

import re
from typing import Final

# Only so many characters at either end of a prompt are looked at, which bounds the cost.
WINDOW: Final = 2_000
# So many characters at either end of a passage tell its language.
EXCERPT: Final = 250

_NOT_LANGUAGE = re.compile(r"(?:https?://|www\.)\S+|\b[\w.+-]{1,64}@\S+|`[^`\n]+`", re.IGNORECASE)
_FENCE = re.compile(r"```|~~~")
_LETTER = re.compile(r"[^\W\d_]")
_SENTENCE_END = re.compile(r"(?<=[.?!…])\s+(?=[^\s\d.])|(?<=[。？！।؟])\s*(?=\S)")
_BLANK_LINES = re.compile(r"\n\s*\n")
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》')
# Behind a letter of a script without spaces, as NFKC leaves a full-width colon.
_COLON = re.compile(r":\s|：|(?<=[^\x00-\x7f]):(?=\S)|:$")
_WORD = re.compile(r"[^\W\d_]{2,}")
# What a name or a title writes in lower case.
_PARTICLES: Final = frozenset("of the and in on for to at von van der de la le du da del y e et und".split())
_LONGEST_NAME: Final = 60
_LONGEST_UNIT: Final = 3
_MATHEMATICS: Final = re.compile(r"[\d=^]")


def window(text: str) -> str:
    """``text`` without fenced code; of a long text, `WINDOW` characters at either end."""
    if "```" in text or "~~~" in text:
        text = "\n".join(_FENCE.split(text)[::2])
    if len(text) > 2 * WINDOW:
        text = f"{text[:WINDOW]}\n{text[-WINDOW:]}"
    return text


def prose(text: str) -> str:
    """``text`` without code in a line, URLs and e-mail addresses."""
    if "`" in text or "@" in text or "://" in text or "www." in text.lower():
        text = _NOT_LANGUAGE.sub(" ", text)
    return text.strip()


def paragraphs(text: str) -> list[str]:
    """The paragraphs of ``text``; of a single paragraph, its lines. Those without letters are left out."""
    if "\n" not in text:
        return [text]
    parts = _BLANK_LINES.split(text)
    if len(parts) == 1:
        parts = text.split("\n")
    return [part for part in parts if _LETTER.search(part)] or [text]


def sentences(text: str) -> list[str]:
    """The sentences of a line; of a long line, of its ends."""
    if len(text) > 4 * EXCERPT:
        text = f"{text[: 2 * EXCERPT]} {text[-2 * EXCERPT :]}"
    return [part for part in _SENTENCE_END.split(text) if part]


def around_colon(text: str) -> tuple[str, str] | None:
    """What stands before and after the first colon of a line; None where there is no colon."""
    colon = _COLON.search(text)
    return (text[: colon.start()], text[colon.end() :]) if colon else None


def tells_nothing(text: str) -> bool:
    """Whether ``text`` may be a name, a title, a formula or a quantity: no sentence, whatever its language."""
    if len(text) > _LONGEST_NAME:
        return False
    small = [word for word in _WORD.findall(text) if not word[0].isupper() and word not in _PARTICLES]
    return not small or (max(map(len, small)) <= _LONGEST_UNIT and _MATHEMATICS.search(text) is not None)


def without_quotations(text: str) -> str:
    """``text`` without its quotations."""
    return _QUOTATION.sub(" ", text)


def excerpt(text: str) -> str:
    """`EXCERPT` characters at either end of a long passage; a short passage as it is."""
    return text if len(text) <= 2 * EXCERPT else f"{text[:EXCERPT]} {text[-EXCERPT:]}"
