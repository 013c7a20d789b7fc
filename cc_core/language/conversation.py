"""The language of a conversation: that of its newest turn, or of an earlier one if the newest is short or undecided."""

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

#: How many of the user's turns are read, newest first, until one has a language.
TURNS: Final = 8
# A turn of fewer letters, such as "API" or "Los Angeles", is read like a name: together with the turns before it.
SHORT_TURN: Final = 12
# The confidence that a short turn needs to decide against an earlier English one.
SURE: Final = 0.9
# The same for a turn that begins with "and", such as "und morgen?", whose language is that of its "and".
SURE_TO_GO_ON: Final = 0.95
_AND: Final = frozenset(("und", "y", "et", "e", "dan", "lalu", "ve", "peki", "ya", "còn", "thế", "na", "eta", "àti"))


def in_conversation(turns: Iterable[Reading]) -> Detection:
    """The language of the newest of ``turns``.

    Args:
        turns: the readings of the user's turns, the newest first. No more of them are asked for than are needed.
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
    """Whether a turn may be a name or a title, such as "Rio de Janeiro", which does not show the user's language."""
    text = turn.text
    last = text.rsplit(None, 1)[-1:]
    if not last or not last[0][0].isupper() or asks(text) or text.isupper():
        return False
    return tells_nothing(text) and script_of(text)[0] is LATIN


def _decides(short: Detection, before: Detection) -> bool:
    """Whether a short turn decides against the longer one ``before`` it."""
    return not _may_be(short, before) or (before.language == ENGLISH != short.language and _speaks_surely(short))


def _speaks_surely(turn: Detection) -> bool:
    """Whether a turn is a greeting, a question or a request in words that only its language has.

    A lone question word without a question mark may be a name or English, as "Nani" and "Comment" may.
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
    """Whether a short turn may be in the language of the one ``before``: not if it is in another script.

    Latin words may be names and terms in any conversation, and Han alone may be Japanese or Chinese.
    """
    script, _ = script_of(short.text)
    return script in (None, LATIN, script_of(before.text)[0])
