"""Cuts a prompt into the parts that may be its instruction: paragraphs, what precedes a colon, what is not quoted."""

from __future__ import annotations

import re
from typing import Final

# Only so many characters at either end of a prompt are looked at, which bounds the cost.
WINDOW: Final = 2_000
# So many characters at either end of a passage tell its language.
EXCERPT: Final = 250

_NOT_LANGUAGE = re.compile(r"(?:https?://|www\.)\S+|\b[\w.+-]{1,64}@\S+|`[^`\n]+`", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n\s*\n")
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》')
_COLON = re.compile(r":\s|：")


def prose(text: str) -> str:
    """``text`` without code, URLs and e-mail addresses; of a long text, `WINDOW` characters at either end."""
    if "```" in text:
        text = " ".join(text.split("```")[::2])
    if len(text) > 2 * WINDOW:
        text = f"{text[:WINDOW]}\n{text[-WINDOW:]}"
    if "`" in text or "@" in text or "://" in text or "www." in text.lower():
        text = _NOT_LANGUAGE.sub(" ", text)
    return text.strip()


def edge_paragraphs(text: str) -> tuple[str, str] | None:
    """The first and the last paragraph; of a single paragraph, its first and last line; of a single line, None."""
    if "\n" not in text:
        return None
    parts = _BLANK_LINES.split(text)
    if len(parts) == 1:
        parts = text.split("\n")
    return parts[0], parts[-1]


def around_colon(text: str) -> tuple[str, str] | None:
    """What stands before and after the first colon of a line; None where there is no colon."""
    colon = _COLON.search(text)
    return (text[: colon.start()], text[colon.end() :]) if colon else None


def without_quotations(text: str) -> str:
    """``text`` without its quotations."""
    return _QUOTATION.sub(" ", text)


def excerpt(text: str) -> str:
    """`EXCERPT` characters at either end of a long passage; a short passage as it is."""
    return text if len(text) <= 2 * EXCERPT else f"{text[:EXCERPT]} {text[-EXCERPT:]}"
