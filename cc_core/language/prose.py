"""Which part of a prompt is its instruction: prompts mix languages, and the instruction's is the one that counts."""

from __future__ import annotations

import re
from typing import Final

# Text beyond this many characters from either end is not looked at, which bounds the cost of any prompt.
WINDOW: Final = 2_000
# Of a passage, as many characters from either end tell its language.
EXCERPT: Final = 250

_NOT_LANGUAGE = re.compile(r"(?:https?://|www\.)\S+|\b[\w.+-]{1,64}@\S+|`[^`\n]+`", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n\s*\n")
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》')
_COLON = re.compile(r":\s|：")


def prose(text: str) -> str:
    """``text`` within the window, without code fences, inline code, URLs and e-mail addresses."""
    if "```" in text:
        text = " ".join(text.split("```")[::2])
    if len(text) > 2 * WINDOW:
        text = f"{text[:WINDOW]}\n{text[-WINDOW:]}"
    if "`" in text or "@" in text or "://" in text or "www." in text.lower():
        text = _NOT_LANGUAGE.sub(" ", text)
    return text.strip()


def edge_paragraphs(text: str) -> tuple[str, str] | None:
    """The first and the last paragraph, or the first and last line of a single one; None of a single line."""
    if "\n" not in text:
        return None
    parts = _BLANK_LINES.split(text)
    if len(parts) == 1:
        parts = text.split("\n")
    return parts[0], parts[-1]


def around_colon(text: str) -> tuple[str, str] | None:
    """What stands before and after the first colon of a line; None without one."""
    colon = _COLON.search(text)
    return (text[: colon.start()], text[colon.end() :]) if colon else None


def without_quotations(text: str) -> str:
    """``text`` without what it quotes."""
    return _QUOTATION.sub(" ", text)


def excerpt(text: str) -> str:
    """The ends of a long passage; a short one as it is."""
    return text if len(text) <= 2 * EXCERPT else f"{text[:EXCERPT]} {text[-EXCERPT:]}"
