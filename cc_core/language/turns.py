"""Finds the user's turns in a rendered chat: a prompt with the control tokens of any model between its turns.

The form of a token shows that it is one, as in ``<|…|>``; its name, or the word that follows, shows the role.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from cc_core.language.labels import ROLES, Rank, rank_of

_BARS: Final = "|\uff5c"  # DeepSeek's tokens have full-width bars
# Every rendered chat has one of these. Their first characters are found fast, even in a long text.
_ANGLED_SIGN = re.compile(rf"<(?:[{_BARS}]|/?s>|bos>|turn|<SYS|extra_id|/?\w+_of_turn|[\w/]{{1,24}}[{_BARS}]>)")
_SQUARE_SIGN = re.compile(r"\[(?:INST\]|\||gMASK)")
# How many characters of a long prompt are read, at either end. A turn that is cut keeps its role.
_WINDOW: Final = 8_000
_TOKEN = re.compile(
    rf"<[{_BARS}][^<>{_BARS}\n]{{1,48}}[{_BARS}]?>|<[\w/]{{1,24}}[{_BARS}]>|"
    rf"\[[{_BARS}][^\[\]{_BARS}\n]{{1,24}}[{_BARS}]\]"
    r"|<</?[A-Z_]{2,}>>|\[/?[A-Z][A-Z_]{2,24}\]"
    r"|</?(?:start_of_turn|end_of_turn|bos|eos|pad|unk|s|extra_id_\d+|SPECIAL_\d+|sop|eop|turn)>|\[g?MASK\]|<sop>"
)
_ROLE_LINE = re.compile(r"\s*([A-Za-z]{2,12})[ \t]*(?:\n|:|$)")
_NAME = re.compile(r"[a-z]+")
_ENDS: Final = frozenset(["end", "eot", "eos", "eom", "eod", "endoftext", "s", "endofturn", "stop"])
_HEADS: Final = frozenset(("header", "role"))


def user_turns(text: str) -> list[str] | None:
    """The user's turns of a rendered chat, the newest first; None where ``text`` is no such chat.

    A prompt that has control tokens but no roles, such as ``<s>text``, is one turn.
    """
    if len(text) > 2 * _WINDOW:
        text = f"{text[:_WINDOW]}\n{text[-_WINDOW:]}"
    if not (("<" in text and _ANGLED_SIGN.search(text)) or ("[" in text and _SQUARE_SIGN.search(text))):
        return None
    turns: list[list[str]] = []
    loose: list[str] = []
    role: Rank | None = None
    enclosing: Rank | None = None
    start, opened, found = 0, False, False
    for match in (*_TOKEN.finditer(text), None):
        segment = text[start : match.start() if match else len(text)]
        if opened and (head := _ROLE_LINE.match(segment)) and head[1].lower() in ROLES:
            role, segment = rank_of(head[1]), segment[head.end() :]
            if role is Rank.OWN:
                turns.append([])
        if segment.strip():
            if role is Rank.OWN and turns:
                turns[-1].append(segment)
            elif role is None:
                loose.append(segment)
        if match is None:
            break
        found, start = True, match.end()
        named, closing, ends_name = _kind(match[0])
        if ends_name:
            continue
        opened = not closing
        if closing:
            if named is Rank.OWN:
                role = Rank.MODEL  # after [/INST]
            elif named is not None and enclosing is not None:
                role, enclosing = enclosing, None  # after <</SYS>>, inside of [INST]
                turns.append([])
            else:
                role = None
        elif named is not None:
            if named is Rank.MODEL and role is Rank.OWN and match[0].startswith("<<"):
                enclosing = role
            role = named
            if role is Rank.OWN:
                turns.append([])
    if not found:
        return None
    said = ["\n".join(turn).strip() for turn in reversed(turns)]
    said = [turn for turn in said if turn]
    rest = "\n\n".join(part.strip() for part in loose)
    return said or ([rest] if rest else None)


@lru_cache(maxsize=1024)
def _kind(token: str) -> tuple[Rank | None, bool, bool]:
    """The role that a control token names; whether the token ends a turn; whether it only ends the name of a role."""
    names = set(_NAME.findall(token.lower()))
    roles = names & ROLES or names & {"inst", "prompt", "question"}
    named = min((rank for name in roles if (rank := rank_of(name)) is not None), default=None)
    closing = token[1:3].strip("<").startswith("/") or not names.isdisjoint(_ENDS)
    return named, closing, closing and not names.isdisjoint(_HEADS)
