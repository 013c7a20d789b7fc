"""Cuts a text into pieces that may be its instruction: paragraphs, sentences, sides of a colon, outside quotations."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from cc_core.language.labels import Rank, rank_of
from cc_core.language.noise import comments_of_code, is_code
from cc_core.language.requests import asks, is_request

# How many characters of a prompt are read, at either end; this bounds the cost.
WINDOW: Final = 1_000
# How many lines are read, at either end, where lines are very short.
WINDOW_LINES: Final = 40
# How many characters are searched for fences, at either end, so that the text after fenced code is found.
FENCED_WINDOW: Final = 4_000
# How many characters of a passage, at either end, decide its language.
EXCERPT: Final = 250

_IN_BACK_QUOTES = re.compile(r"`[^`\n]+`")
_URL = re.compile(r"(?:[Hh][Tt]{2}[Pp][Ss]?://|[Ww]{3}\.)\S+")
_ADDRESS = re.compile(r"\b[\w.+-]{1,64}+@\S+|<?(?<!\w)@\w+>?")
_FENCES: Final = ("```", "~~~")
_FENCE = re.compile("|".join(_FENCES))
_PLAIN_FENCE = re.compile(r"(?:text|txt|markdown|md)?[ \t]*\n")
_TAGGED_FENCE = re.compile(r"[\w+#.-]{0,20}[ \t]*\n")
_CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# A message that is written in such marks, or in fences, has few of them.
_MOST_SPANS: Final = 8
# A code span may be words if it has three of them, or six letters in a row of a script without spaces.
_FEWEST_WORDS: Final = 3
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3041-\uffdc]{6}")
_LABEL_BEFORE = re.compile(r"([A-Za-z][A-Za-z ]{0,40}):[*_ \t]*\n\s*$")
# Longer than any such label with the blanks around it.
_LABEL_REACH: Final = 100
# Commands of LaTeX, formulas, and line ends that were escaped.
_LATEX = re.compile(
    r"\\[nrt](?![a-z])|\\(?:begin|end|documentclass|usepackage|label|ref|cite)(?:\[[^\]\n]*\])?\{[^{}\n]*\}|\\[A-Za-z]+\*?"
)
_FORMULA = re.compile(r"\$\$?[^$\n]{0,200}[\\^=_][^$\n]{0,200}\$\$?")
_LETTER = re.compile(r"[^\W\d_]")
# It begins with the marks, which are found faster than what may follow them.
_SENTENCE_END = re.compile(r"[.?!…。？！।؟](?:(?<=[.?!…])\s+(?=[^\s\d.])|(?<=[。？！।؟])\s*(?=\S))")
_BLANK_LINES = re.compile(r"\n\s*\n")
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》')
# NFKC turns a full-width colon into a plain one, without a space after it in scripts without spaces.
_COLON = re.compile(r"：|:(?:\s|(?<=[^\x00-\x7f]:)(?=\S)|$|(?<=[A-Za-z]{2}:)(?![\s:/]))")
# Vowel signs of India and Thailand stand inside of words.
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff\u0e31-\u0e4e])+")
# A key as YAML writes it. A label that a person writes usually begins with a capital.
_KEY = re.compile(r"[ \t]*([a-z][\w./-]*+:)(?!\S)")
_FEWEST_KEYS: Final = 2
# How many colons of a line are tried.
MOST_COLONS: Final = 4
# Words that names and titles write in lower case.
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
    return _FENCE.split(text) if tildes in text else text.split(backquotes)  # the second takes a tenth of the time


def _without_fences(text: str) -> str:
    """``text`` without fenced code.

    Fenced text remains if a label before it calls it the user's own, or if nothing is said outside of fences.
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
    """The text in the fences of ``text``, and in code spans that may be words.

    Args:
        text: of any length.
        with_code: whether to read the comments of program code; if not, program code is left out.
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
    """``text`` without code spans, URLs, e-mail addresses, mentions, formulas and LaTeX commands."""
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
    """The paragraphs of ``text``; if it is a single one, its lines, or its values if it is data.

    Pieces without letters are left out.
    """
    if "\n" not in text:
        return [text]
    parts = _BLANK_LINES.split(text)
    if len(parts) == 1:
        values = values_of(text)
        parts = text.split("\n") if values is None else values
    return [part for part in parts if _LETTER.search(part)] or [text]


def values_of(text: str) -> list[str] | None:
    """The values of a settings file's lines ``key: value`` that may be words.

    None where ``text`` is no such data, or where a key is a request.
    """
    lines = text.split("\n")
    keys = [_KEY.match(line) for line in lines] if len(lines) >= _FEWEST_KEYS else []
    found = [key[1] for key in keys if key]
    if len(found) < _FEWEST_KEYS or 2 * len(found) <= len(lines) or is_request("\n".join(found)):
        return None
    values = [(line[key.end() :] if key else line).strip() for line, key in zip(lines, keys, strict=True)]
    return [value for value in values if not value.isascii() or asks(value) or _may_be_words(value)]


def sentences(text: str) -> list[str]:
    """The sentences of a line; of a long line, those of its ends."""
    if len(text) > 4 * EXCERPT:
        text = f"{text[: 2 * EXCERPT]} {text[-2 * EXCERPT :]}"
    pieces, begin = [], 0
    for end in _SENTENCE_END.finditer(text):
        pieces.append(text[begin : end.start() + 1])
        begin = end.end()
    return [*pieces, text[begin:]]


def around_colon(text: str) -> tuple[str, str] | None:
    """The text before and after the first colon of a line that divides something; None where none does."""
    for colon in islice(_COLON.finditer(text), MOST_COLONS):
        before = text[: colon.start()]
        # Within a word, as in "localhost:8000", a colon divides nothing.
        if colon[0] != ":" or colon.end() == len(text) or not before[-1:].isascii() or before.strip().count(" "):
            return before, text[colon.end() :]
        if is_request(before):
            return before, text[colon.end() :]
    return None


def tells_nothing(text: str) -> bool:
    """Whether ``text`` may be a name, a title, a formula or a quantity, which show no language."""
    if len(text) > _LONGEST_NAME:
        return False
    small = [word for word in _WORD.findall(text) if not word[0].isupper() and word not in _PARTICLES]
    return not small or (max(map(len, small)) <= _LONGEST_UNIT and _MATHEMATICS.search(text) is not None)


def without_quotations(text: str) -> str:
    """``text`` without its quotations."""
    return _QUOTATION.sub(" ", text)


def excerpt(text: str) -> str:
    """`EXCERPT` characters from either end of a long passage; a short passage unchanged."""
    return text if len(text) <= 2 * EXCERPT else f"{text[:EXCERPT]} {text[-EXCERPT:]}"
