"""Texts that an export or a wrong encoding damaged, and texts that say nothing."""

from __future__ import annotations

import re
import unicodedata

# UTF-8 that was read as one of these.
_READ_AS = ("cp1252", "latin-1", "cp1251", "cp1250")
_RUN = re.compile(r"[^\x00-\x7f]{2,}")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}")
_ENTITY = re.compile(
    r"&(?:#\d{2,6}|#x[0-9a-fA-F]{2,6}|[A-Za-z]{1,6}uml|[A-Za-z]acute|[A-Za-z]grave|nbsp|amp|quot|lt|gt);"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# What programs write for nothing.
_NOTHING = {"nan", "null", "undefined", "n/a", "#n/a", "none", "todo", "tbd", "[deleted]", "[removed]", "<null>"}
_QUESTION_MARKS = re.compile(r"\?{4,}|(?<=\w)\?{2,}(?=\w)")
_REPEATS = 5  # a text that repeats one word so often says nothing


def damage(text: str) -> str | None:
    """What is wrong with a text, to follow its field's name; None for a text that is whole."""
    if "\ufffd" in text:
        return "holds U+FFFD, which stands for lost characters"
    if _is_mojibake(text):
        return "is UTF-8 read in another encoding"
    if _CONTROL.search(text):
        return "holds control characters"
    if _ESCAPE.search(text) and "\\" not in _ESCAPE.sub("", text):
        return "holds escapes (\\u00e4) in place of characters"
    if _ENTITY.search(text):
        return "holds HTML entities (&auml;) in place of characters"
    if text.strip().casefold() in _NOTHING:
        return "is a placeholder"
    if _QUESTION_MARKS.search(text) and not text.isascii():
        return "holds question marks in place of characters"
    if all(unicodedata.category(c)[0] in "PZC" for c in text):
        return "has no word"
    words = text.split()
    if (len(words) >= _REPEATS and len(set(words)) == 1) or re.fullmatch(r"\s*(\S{1,4}?)\1{9,}\s*", text):
        return "is one word over and over"
    return None


def _is_mojibake(text: str) -> bool:
    return any(_read_wrong(run) for run in _RUN.findall(text))


def _read_wrong(run: str) -> bool:
    """Whether the characters are UTF-8 bytes, decoded in another encoding. Hardly any run of real letters is."""
    for encoding in _READ_AS:
        try:
            payload = b"".join(_byte(c, encoding) for c in run)
            decoded = payload.decode("utf-8")
        except UnicodeError:
            continue
        if any(unicodedata.category(c)[0] in "LPSM" for c in decoded):
            return True
    return False


def _byte(character: str, encoding: str) -> bytes:
    """The byte that was decoded; decoders leave bytes without a character as they are."""
    return bytes([ord(character)]) if "\x80" <= character <= "\x9f" else character.encode(encoding)
