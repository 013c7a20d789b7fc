"""Decides whose language counts in a text that is partly English: which part is the user's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_core.language.detection import Reading
from cc_core.language.english import Use, begins_with_task, points, use_of
from cc_core.language.requests import asks, is_text_task, wants_something
from cc_core.language.scripts import LATIN, script_of

Piece = tuple[str, Reading]

#: The fewest letters of a paragraph that counts; "Answer:" has too few. A paragraph that is `SURE` needs fewer.
SHORTEST_PARAGRAPH: Final = 12
SHORTEST_SURE: Final = 6
SURE: Final = 0.9
# An English paragraph of fewer letters is no passage. One above a passage that is this many times as long is an
# instruction.
SHORT_ENGLISH: Final = 40
INSTRUCTION_RATIO: Final = 3.0
# A longer paragraph is a passage, even if it asks something or asks for something.
LONGEST_INSTRUCTION: Final = 160


def tells(reading: Reading) -> bool:
    """Whether a piece is long enough to count."""
    sure = reading.detection.confidence >= SURE
    return reading.decides(SHORTEST_SURE if sure else SHORTEST_PARAGRAPH)


def tells_surely(reading: Reading) -> bool:
    """Whether a piece counts where names and titles look foreign."""
    return reading.letters >= SHORTEST_PARAGRAPH and reading.detection.confidence >= SURE


def tells_beside(piece: str, reading: Reading, uses: set[Use]) -> bool:
    """Whether a foreign piece counts beside English pieces of these ``uses``.

    A name also looks foreign. But a name does not ask, and beside a name English asks a question.
    """
    if not tells(reading):
        return False
    if uses <= {Use.FRAME} or tells_surely(reading) or wants_something(piece, reading.language):
        return True
    return Use.QUESTION not in uses and script_of(piece)[0] is not LATIN


def english_decides(english: Sequence[Piece], foreign: Sequence[Piece], *, english_first: bool) -> bool:
    """Whether the user's own words are the ``english`` ones, in a text that is partly ``foreign``.

    A foreign question or request outranks English that asks something else or tells something. An English task
    outranks foreign questions and requests, unless these ask for work on the English text.
    """
    instructions = [piece for piece, _ in english if len(piece) <= LONGEST_INSTRUCTION]
    uses = {use_of(piece) for piece in instructions}
    wanting = [
        (piece, reading.language)
        for piece, reading in foreign
        if reading.letters <= LONGEST_INSTRUCTION and wants_something(piece, reading.language)
    ]
    on_english = any(is_text_task(piece, language) for piece, language in wanting)
    if Use.TASK in uses:
        return not on_english or (english_first and begins_with_task(english[0][0]))
    if Use.QUESTION not in uses and any(asks(piece) for piece, _ in foreign):
        return False
    if wanting:
        return not on_english and any(use_of(piece) is Use.QUESTION and points(piece) for piece in instructions)
    own, others = _size(english), _size(foreign)
    if uses & {Use.QUESTION, Use.POINTER}:
        return own < others
    return own >= SHORT_ENGLISH and not uses <= {Use.FRAME, Use.REMARK} and others >= INSTRUCTION_RATIO * own


def _size(pieces: Sequence[Piece]) -> float:
    """The letters of ``pieces``; where only the ends of a piece were read, extrapolated to all of it."""
    return sum(reading.letters * max(len(piece), 1) / max(len(reading.detection.text), 1) for piece, reading in pieces)
