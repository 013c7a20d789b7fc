"""Tells whose words decide where a text is in English and in another language: which of them is the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_core.language.detection import Reading
from cc_core.language.english import Use, begins_with_task, points, use_of
from cc_core.language.requests import asks, is_text_task, wants_something
from cc_core.language.scripts import LATIN, script_of

Piece = tuple[str, Reading]

#: A paragraph of fewer letters, such as "Answer:", says too little on its own; a sure one needs fewer.
SHORTEST_PARAGRAPH: Final = 12
SHORTEST_SURE: Final = 6
SURE: Final = 0.9
# An English paragraph of so few letters is no passage, and one over a so many times longer passage is an instruction.
SHORT_ENGLISH: Final = 40
INSTRUCTION_RATIO: Final = 3.0
# A longer paragraph than this is a passage, whatever it asks or asks for.
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

    A name looks foreign, too, but does not ask; and only a question is asked about a name.
    """
    if not tells(reading):
        return False
    if uses <= {Use.FRAME} or tells_surely(reading) or wants_something(piece, reading.language):
        return True
    return Use.QUESTION not in uses and script_of(piece)[0] is not LATIN


def english_decides(english: Sequence[Piece], foreign: Sequence[Piece], *, english_first: bool) -> bool:
    """Whether, of a text in English and another language, the user's own words are the English ones.

    A foreign question or request outranks English that only mentions a task, asks something else, or tells something.
    A task on the foreign text outranks these, unless they want something done to the English one.
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
    """The letters of ``pieces``, also of those of which only the ends were read."""
    return sum(reading.letters * max(len(piece), 1) / max(len(reading.detection.text), 1) for piece, reading in pieces)
