"""Finds who speaks in an exported chat, whose lines begin with a time stamp and a name.

The lines of a server's log also begin with a time stamp. But they name a level, or a program in lower case after a
time with seconds.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, NamedTuple

from cc_core.language.english import Use, use_of
from cc_core.language.labels import rank_of
from cc_core.language.noise import LEVEL
from cc_core.language.requests import asks, holds_question_word, is_request
from cc_core.language.scripts import LATIN, script_of

_DATE: Final = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_SECONDS: Final = r":\d{2}"
_CLOCK: Final = r"(?:\s?[AaPp]\.?[Mm]\.?)?+(?!\d)"
_MINUTES: Final = r"\d{1,2}[:.]\d{2}"
_TIME: Final = rf"{_MINUTES}(?:{_SECONDS})?{_CLOCK}"
_WORD: Final = r"[^\W\d_][\w'’.-]*+"
_NAME: Final = rf"(?:{_WORD}(?: {_WORD}){{0,3}}|\+\d[\d -]{{6,18}}\d)"
_SAID = re.compile(
    rf"(?:[\[(](?:{_DATE},?\s)?{_MINUTES}(?P<bracketed>{_SECONDS})?{_CLOCK}[\])](?::|\s-)?|"
    rf"(?:{_DATE},?\s)?{_MINUTES}(?P<bare>{_SECONDS})?{_CLOCK}(?:\s[-–—|])?)[ \t]+"
    rf"(?:<[@+~%& ]?(?P<nick>[^\s<>]{{1,30}})>[ \t]|(?:~ ?)?(?P<name>{_NAME})[ \t]?:(?!\S)[ \t]*)"
)
_NICK = re.compile(r"<(?P<nick>[^\W\d_][\w.|-]{0,30})>[ \t]+(?=\S)")
# A line with only a name and a time; the message follows.
_DAY: Final = r"(?:(?:Today|Yesterday)(?: at|,)?\s)"
_HEAD = re.compile(
    rf"(?:(?P<name>{_NAME})(?:,|\s[-–—|])?\s{{1,3}}(?:\[{_DATE},?\s{_TIME}\]|"
    rf"{_DAY}?(?:{_DATE},?\s)?{_TIME})|\[{_DAY}?(?:{_DATE},?\s)?{_TIME}\][ \t]+(?P<after>{_NAME}))[ \t]*$"
)
_STARTS = re.compile(r"^(?:[\[(<]|\d{1,4}[:./-]\d|.{1,60}\d[:.]\d\d.{0,6}$)", re.MULTILINE)
_LEVELS = re.compile(rf"\b{LEVEL}\b")
# The lines of a single speaker may be anything.
_FEWEST_SPEAKERS: Final = 2
# A last message of fewer letters is read together with the speaker's earlier ones.
_FEW_LETTERS: Final = 12


class _Message(NamedTuple):
    speaker: str
    lines: list[str]


def with_speakers(text: str) -> str:
    """``text`` with labels in place of a chat's time stamps and names: the last speaker is the user.

    Roles such as "Agent" keep their names. If the text outside of the chat asks something, the whole chat is a passage.
    """
    if len(list(islice(_STARTS.finditer(text), _FEWEST_SPEAKERS))) < _FEWEST_SPEAKERS:
        return text
    pieces = _pieces(text)
    messages = [piece for piece in pieces if isinstance(piece, _Message)]
    if len({message.speaker for message in messages}) < _FEWEST_SPEAKERS:
        return text
    outside = "\n".join(piece for piece in pieces if isinstance(piece, str)).strip()
    asked = _asked(outside)
    own = [] if asked else _own(messages)
    # Beside other words, it is as likely that the user wrote these as that the user is the last speaker.
    label = "message" if outside and use_of(outside) is Use.OTHER else "user"
    lines = []
    for piece in pieces:
        if isinstance(piece, str):
            lines.append(piece)
        elif any(piece is message for message in own):
            if piece is own[-1]:
                lines += [f"{label}:", *(line for message in own for line in message.lines)]
        else:
            role = not asked and rank_of(piece.speaker) is not None
            lines += [f"{piece.speaker if role else 'transcript'}: {piece.lines[0]}", *piece.lines[1:]]
    return "\n".join(lines)


def _asked(outside: str) -> bool:
    """Whether the text outside of a chat asks something or asks for something."""
    if use_of(outside) in (Use.TASK, Use.QUESTION) or asks(outside) or is_request(outside):
        return True
    script, _ = script_of(outside)
    return script not in (None, LATIN) and holds_question_word(outside, script.languages)


def _pieces(text: str) -> list[str | _Message]:
    """The lines of ``text`` outside of the chat, and its messages."""
    pieces: list[str | _Message] = []
    said: _Message | None = None
    tags = "</" in text
    for line in text.split("\n"):
        may_start = _STARTS.match(line)
        if may_start and (found := _SAID.match(line)) and _is_person(found):
            said = _Message(found["nick"] or found["name"], [line[found.end() :]])
        elif may_start and not tags and (found := _NICK.match(line)) and rank_of(found["nick"]) is None:
            said = _Message(found["nick"], [line[found.end() :]])
        elif may_start and (found := _HEAD.match(line)):
            said = _Message(found["name"] or found["after"], [])
        elif said is not None and line.strip():
            said.lines.append(line)
            continue
        else:
            said = None if said is None or said.lines else said
            pieces.append(line)
            continue
        pieces.append(said)
    return [piece for piece in pieces if isinstance(piece, str) or any(map(str.strip, piece.lines))]


def _is_person(found: re.Match[str]) -> bool:
    """Whether the name after a time stamp is that of a person or a role, and not of a program."""
    name = found["nick"] or found["name"]
    if _LEVELS.search(name):
        return False
    if found["nick"] or rank_of(name) is not None or (not found["bracketed"] and not found["bare"]):
        return True
    return found["bracketed"] is not None and not name[0].islower()


def _own(messages: list[_Message]) -> list[_Message]:
    """The last message of the last speaker without a role; if it is short, with that speaker's messages before it."""
    own: list[_Message] = []
    letters = 0
    for message in reversed(messages):
        if rank_of(message.speaker) is not None:
            continue
        if not own or message.speaker == own[0].speaker:
            own.insert(0, message)
            letters += sum(map(str.isalpha, "".join(message.lines)))
        elif letters >= _FEW_LETTERS:
            break
    return own
