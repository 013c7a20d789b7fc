"""Tells which side of a colon is the user's own: the instruction before it, or what a label announces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cc_core.language.detection import UNDECIDED, Reading
from cc_core.language.english import begins_with_task
from cc_core.language.mixture import SHORTEST_PARAGRAPH, SURE, english_decides, tells, tells_surely
from cc_core.language.prose import around_colon, tells_nothing
from cc_core.language.requests import is_lone_request_of, is_question, is_request, wants_something
from cc_core.names import ENGLISH

#: Reads the language of one passage.
Read = Callable[[str], Reading]

#: Around a quotation or before a colon, fewer letters than these do not show whose words they are.
SHORTEST_FRAME: Final = 8
# A text of this many letters before a colon is an instruction. A shorter one may be a name or a title.
SHORTEST_INSTRUCTION: Final = 15
#: A text of fewer letters after a colon is a name or a title.
LONGEST_NAME: Final = 24
# After an English label, the reading goes on for this many more colons: "Given this: …, answer: …".
MOST_COLONS: Final = 2
# English tasks whose words other languages use as well, as in "Edit: hat sich erledigt".
_BORROWED: Final = frozenset(("correct", "edit", "extract", "fix", "gist", "hashtags", "sentiment", "synopsis"))


def read_around_colon(text: str, read: Read, depth: int = 0) -> Reading | None:
    """The reading of the instruction before a colon, or of the text after a label; None where the colon shows neither.

    Args:
        text: a line.
        read: reads the language of one passage.
        depth: how many colons were read before.
    """
    if (parts := around_colon(text)) is None:
        return None
    instruction = _read_instruction(parts[0], read)
    name = tells_nothing(parts[1]) and instruction.letters > 0
    if name and instruction.language is not None:
        return instruction
    deeper = depth < MOST_COLONS and ":" in parts[1] and instruction.language == ENGLISH
    passage = (deeper and read_around_colon(parts[1], read, depth + 1)) or read(parts[1])
    head, tail = instruction.language, passage.language
    # A title is in the language of who made it, but a headline in capitals may be all that is said.
    headline = tail not in (None, ENGLISH) and passage.letters >= LONGEST_NAME and tells_surely(passage)
    if name and not headline:
        return instruction
    if tail not in (None, head) and tells(passage) and is_lone_request_of(parts[0], tail):
        return passage  # "Explique: …" is French, Portuguese or Spanish
    asking = is_request(parts[0]) or is_question(parts[0], head)
    if head != ENGLISH and tail not in (None, head) and (head or tail == ENGLISH) and asking:
        return instruction
    if head in (None, ENGLISH) and tail != ENGLISH and begins_with_task(parts[0]):
        return instruction  # "Fix: …"
    if head is None or instruction.letters < SHORTEST_FRAME:
        long = max(LONGEST_NAME if tail == ENGLISH else SHORTEST_PARAGRAPH, instruction.letters)
        foreign = instruction.detection.scores and dict(instruction.detection.scores).get(ENGLISH, 0.0) < 1 - SURE
        if tail == ENGLISH and foreign and instruction.letters >= SHORTEST_INSTRUCTION:
            return instruction  # undecided: a wrong "English" would cost the request its connection
        asked = tail is not None and tells(passage) and wants_something(parts[1], tail)
        return passage if tail and (asked or passage.letters >= long) else None
    if tail is None or tail == head or not tells(passage):
        return instruction if tail is None or tail != head else None
    if head == ENGLISH:
        sides = [(parts[0], instruction)], [(parts[1], passage)]
        return replace(instruction if english_decides(*sides, english_first=True) else passage, mixed=True)
    if instruction.letters < SHORTEST_INSTRUCTION and passage.letters >= LONGEST_NAME:
        return passage
    if tail == ENGLISH or passage.letters <= instruction.letters or instruction.detection.confidence >= SURE:
        return instruction
    undecided = replace(UNDECIDED, text=instruction.detection.text)
    return replace(instruction, detection=undecided)


def _read_instruction(text: str, read: Read) -> Reading:
    """The reading of the text before a colon. A lone English verb gets an object, without which it tells too little."""
    reading = read(text)
    lone = reading.language is None or reading.letters < SHORTEST_FRAME
    if reading.language == ENGLISH or not lone or text.strip().lower() in _BORROWED or not begins_with_task(text):
        return reading
    whole = read(f"{text} this text").detection
    return replace(reading, detection=replace(whole, text=reading.detection.text))
