"""Cuts a text into pieces that may be its instruction: paragraphs, sentences, around a colon, outside of quotations."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from cc_core.language.labels import Rank, rank_of
from cc_core.language.noise import comments_of_code, is_code
from cc_core.language.requests import asks, is_request

# Only so many characters at either end of a prompt are looked at, which bounds the cost.
WINDOW: Final = 1_000
# Of very short lines, so many.
WINDOW_LINES: Final = 40
# Fenced code is looked for in so many, since what stands behind it shall be found, too.
FENCED_WINDOW: Final = 4_000
# So many characters at either end of a passage tell its language.
EXCERPT: Final = 250

_IN_BACK_QUOTES = re.compile(r"`[^`\n]+`")
_URL = re.compile(r"(?:[Hh][Tt]{2}[Pp][Ss]?://|[Ww]{3}\.)\S+")
_ADDRESS = re.compile(r"\b[\w.+-]{1,64}+@\S+|<?(?<!\w)@\w+>?")
_FENCES: Final = ("```", "~~~")
_FENCE = re.compile("|".join(_FENCES))
_PLAIN_FENCE = re.compile(r"(?:text|txt|markdown|md)?[ \t]*\n")
_TAGGED_FENCE = re.compile(r"[\w+#.-]{0,20}[ \t]*\n")
_CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# A message in such marks, or in fences, has few of them.
_MOST_SPANS: Final = 8
# Code in a line that may be words has three of them, or so many letters of a script without spaces.
_FEWEST_WORDS: Final = 3
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3041-\uffdc]{6}")
_LABEL_BEFORE = re.compile(r"([A-Za-z][A-Za-z ]{0,40}):[*_ \t]*\n\s*$")
# Such a label, and the blanks around it, are no longer.
_LABEL_REACH: Final = 100
# Commands of LaTeX, formulas, and line ends that were escaped.
_LATEX = re.compile(
    r"\\[nrt](?![a-z])|\\(?:begin|end|documentclass|usepackage|label|ref|cite)(?:\[[^\]\n]*\])?\{[^{}\n]*\}|\\[A-Za-z]+\*?"
)
_FORMULA = re.compile(r"\$\$?[^$\n]{0,200}[\\^=_][^$\n]{0,200}\$\$?")
_LETTER = re.compile(r"[^\W\d_]")
# A text without one of these before its end is one sentence, which the pattern below takes longer to find out.
_SENTENCE_MARK = re.compile(r"[.?!…。？！।؟](?!\Z)")
_SENTENCE_END = re.compile(r"(?<=[.?!…])\s+(?=[^\s\d.])|(?<=[。？！।؟])\s*(?=\S)")
_BLANK_LINES = re.compile(r"\n\s*\n")
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》')
# Behind a letter of a script without spaces, as NFKC leaves a full-width colon.
_COLON = re.compile(r"：|:(?:\s|(?<=[^\x00-\x7f]:)(?=\S)|$|(?<=[A-Za-z]{2}:)(?![\s:/]))")
# Vowel signs of India and Thailand stand inside of words.
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff\u0e31-\u0e4e])+")
# As YAML writes a key; a label that a person writes begins with a capital more often.
_KEY = re.compile(r"[ \t]*([a-z][\w./-]*+:)(?!\S)")
_FEWEST_KEYS: Final = 2
# So many of a line are looked at.
MOST_COLONS: Final = 4
# What a name or a title writes in lower case.
_PARTICLE_WORDS: Final = "of the and in on for to at von van der und de la le du da del y e et"
_PARTICLES: Final = frozenset(_PARTICLE_WORDS.split())
_LONGEST_NAME: Final = 60
_LONGEST_UNIT: Final = 3
_MATHEMATICS: Final = re.compile(r"[\d=^]")


def window(text: str) -> str:
    """``text`` without fenced code; of a long text, `WINDOW` characters and `WINDOW_LINES` lines at either end."""
    if "`" in text or "~" in text:  # a single character is found a hundred times as fast as three
        text = _without_fences(_ends_with_fences(text))
    if len(text) > 2 * WINDOW:
        text = f"{text[:WINDOW]}\n{text[-WINDOW:]}"
    if text.count("\n") > 2 * WINDOW_LINES:
        lines = text.split("\n")
        text = "\n".join((*lines[:WINDOW_LINES], *lines[-WINDOW_LINES:]))
    return text


def _ends_with_fences(text: str) -> str:
    """`FENCED_WINDOW` characters at either end of a long text; the fences between them stay balanced."""
    if len(text) <= 2 * FENCED_WINDOW:
        return text
    ends = f"{text[:FENCED_WINDOW]}\n", f"\n{text[-FENCED_WINDOW:]}"
    cut = text[FENCED_WINDOW:-FENCED_WINDOW]
    fences = sum(cut.count(fence) for fence in _FENCES if fence in ends[0] or fence in ends[1])
    return ("```" if fences % 2 else "").join(ends)


def _at_fences(text: str) -> list[str]:
    backquotes, tildes = _FENCES
    return _FENCE.split(text) if tildes in text else text.split(backquotes)  # which takes a tenth as long


def _without_fences(text: str) -> str:
    """``text`` without fenced code. What a label before the fence calls the user's own remains, and text
    in fences outside of which nothing is said.
    """
    pieces = _at_fences(text)
    if len(pieces) == 1:
        return text
    kept = []
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            kept.append(piece)
        elif (plain := _PLAIN_FENCE.match(piece)) and (
            label := _LABEL_BEFORE.search(pieces[index - 1][-_LABEL_REACH:])
        ):
            kept += [piece[plain.end() :]] if rank_of(label[1]) in (Rank.OWN, Rank.PLAIN) else []
    if not any(map(_LETTER.search, kept)):
        kept += [piece[plain.end() :] for piece in pieces[1::2] if (plain := _PLAIN_FENCE.match(piece))]
    return "\n".join(kept)


def fenced(text: str, *, with_code: bool) -> str:
    """What stands in the fences of ``text``, and in code in a line that may be words.

    Args:
        text: of any length.
        with_code: whether the comments of program code are read; else the code is left out.
    """
    text = _ends_with_fences(text)
    pieces = _at_fences(text)
    kept = []
    for piece in pieces[1 : 2 * _MOST_SPANS : 2]:
        tag = _TAGGED_FENCE.match(piece)
        said = piece[tag.end() :] if tag else piece
        comments = comments_of_code(said)
        if comments is None:
            kept.append(said)
        elif with_code:
            kept.append(comments)
    spans = (span[1] for piece in pieces[::2] for span in _CODE_SPAN.finditer(piece))
    kept += filter(_may_be_words, islice(spans, _MOST_SPANS))
    return "\n\n".join(kept)


def _may_be_words(code: str) -> bool:
    words = code.split()
    if len(words) >= _FEWEST_WORDS:
        words = list(filter(_LETTER.search, words))
    return (len(words) >= _FEWEST_WORDS or _UNSPACED.search(code) is not None) and not is_code(code)


def prose(text: str) -> str:
    """``text`` without code in a line, URLs, e-mail addresses, mentions, formulas and commands of LaTeX."""
    if "$" in text:
        text = _FORMULA.sub(" ", text)
    if "\\" in text:
        text = _LATEX.sub(" ", text)
    if "`" in text:
        text = _IN_BACK_QUOTES.sub(" ", text)
    if "://" in text or "www." in text.lower():
        text = _URL.sub(" ", text)
    if "@" in text:
        text = _ADDRESS.sub(" ", text)
    return text.strip()


def paragraphs(text: str) -> list[str]:
    """The paragraphs of ``text``; of a single paragraph, its lines, or its values if it is data.

    Those without letters are left out.
    """
    if "\n" not in text:
        return [text]
    parts = _BLANK_LINES.split(text)
    if len(parts) == 1:
        values = values_of(text)
        parts = text.split("\n") if values is None else values
    return [part for part in parts if _LETTER.search(part)] or [text]


def values_of(text: str) -> list[str] | None:
    """The values of a settings file's lines ``key: value``, as far as they may be words.

    None where ``text`` is no such data, or where a key asks for something.
    """
    lines = text.split("\n")
    keys = [_KEY.match(line) for line in lines] if len(lines) >= _FEWEST_KEYS else []
    found = [key[1] for key in keys if key]
    if len(found) < _FEWEST_KEYS or 2 * len(found) <= len(lines) or is_request("\n".join(found)):
        return None
    values = [(line[key.end() :] if key else line).strip() for line, key in zip(lines, keys, strict=True)]
    return [value for value in values if not value.isascii() or asks(value) or _may_be_words(value)]


def sentences(text: str) -> list[str]:
    """The sentences of a line; of a long line, of its ends."""
    if len(text) > 4 * EXCERPT:
        text = f"{text[: 2 * EXCERPT]} {text[-2 * EXCERPT :]}"
    if _SENTENCE_MARK.search(text) is None:
        return [text]
    return [part for part in _SENTENCE_END.split(text) if part]


def around_colon(text: str) -> tuple[str, str] | None:
    """What stands before and after the first colon of a line; None where there is no colon."""
    for colon in islice(_COLON.finditer(text), MOST_COLONS):
        before = text[: colon.start()]
        # Within a word, as in "localhost:8000", a colon divides nothing.
        if colon[0] != ":" or colon.end() == len(text) or not before[-1:].isascii() or before.strip().count(" "):
            return before, text[colon.end() :]
        if is_request(before):
            return before, text[colon.end() :]
    return None


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
