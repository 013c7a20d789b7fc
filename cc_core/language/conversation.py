"""The language of a conversation: of its newest turn, or of an earlier one where that is short or undecided."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from cc_core.language.detection import UNDECIDED, Detection, Reading
from cc_core.language.phrases import phrase_language
from cc_core.language.prose import tells_nothing
from cc_core.language.requests import asks, is_question, is_request
from cc_core.language.scripts import LATIN, script_of
from cc_core.names import ENGLISH

#: How many user turns are looked at, newest first, for one whose language can be told.
TURNS: Final = 8
# A turn of fewer letters, such as "API" or "Los Angeles", is, as a name is, understood by what was said before.
SHORT_TURN: Final = 12
# How sure its language must be, if a short turn shall decide against an English one.
SURE: Final = 0.9
# What goes on with "And …?", as "und morgen?", asks in the language of its "and".
SURE_TO_GO_ON: Final = 0.95
_AND: Final = frozenset(("und", "y", "et", "e", "dan", "lalu", "ve", "peki", "ya", "còn", "thế", "na", "eta", "àti"))


def in_conversation(turns: Iterable[Reading]) -> Detection:
    """The language in which the newest of ``turns`` is said.

    Args:
        turns: the readings of the user's turns, the newest first; only as many are made as are needed.
    """
    short: Detection | None = None
    newest: Detection | None = None
    for reading in islice(turns, TURNS):
        newest = newest or reading.detection
        if reading.language is None:
            continue
        if short is None and reading.detection is not newest and not _may_be(newest, reading.detection):
            break  # undecided, and in a script that was not used before
        if reading.letters >= SHORT_TURN and (reading.detection is not newest or not _is_name(reading.detection)):
            return short if short is not None and _decides(short, reading.detection) else reading.detection
        short = short or reading.detection
    return short or newest or UNDECIDED


def _is_name(turn: Detection) -> bool:
    """Whether a turn may be a name or a title, such as "Rio de Janeiro", which tells nothing of who says it."""
    text = turn.text
    last = text.rsplit(None, 1)[-1:]
    if not last or not last[0][0].isupper() or asks(text) or text.isupper():
        return False
    return tells_nothing(text) and script_of(text)[0] is LATIN


def _decides(short: Detection, before: Detection) -> bool:
    """Whether a short turn decides against the longer one ``before`` it."""
    return not _may_be(short, before) or (before.language == ENGLISH != short.language and _speaks_surely(short))


def _speaks_surely(turn: Detection) -> bool:
    """Whether a turn greets, asks or requests in words that only its language has.

    A lone word that asks may be a name or English, as "Nani" and "Comment" are, unless it has a question mark.
    """
    text = turn.text
    if turn.confidence < SURE:
        return False
    several = len(text.split()) > 1
    if several and ("¿" in text or phrase_language(text) is not None):
        return True
    if several and asks(text) and text.split()[0].lower() in _AND and turn.confidence >= SURE_TO_GO_ON:
        return True
    return is_request(text) or ((several or asks(text)) and is_question(text, turn.language))


def _may_be(short: Detection, before: Detection) -> bool:
    """Whether a short turn may be in the language spoken before: not if it is in another script.

    Latin words may be names and terms in any conversation, and Han alone is Japanese as well as Chinese.
    """
    script, _ = script_of(short.text)
    return script in (None, LATIN, script_of(before.text)[0])
