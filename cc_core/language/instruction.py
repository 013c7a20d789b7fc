"""Finds the piece of a user's turn that tells their language, where several pieces remain: `read_turn`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cc_core.language.colon import LONGEST_NAME, SHORTEST_FRAME, Read, read_around_colon
from cc_core.language.detection import Reading
from cc_core.language.english import Use, is_english_request, is_task, use_of
from cc_core.language.labels import SUBJECTS, Rank, rank_of
from cc_core.language.mixture import (
    SHORT_ENGLISH,
    SHORTEST_PARAGRAPH,
    SURE,
    english_decides,
    tells,
    tells_beside,
    tells_surely,
)
from cc_core.language.noise import is_lone_code
from cc_core.language.normalisation import normalise
from cc_core.language.parts import Part, parts_of
from cc_core.language.prose import (
    excerpt,
    fenced,
    paragraphs,
    prose,
    sentences,
    values_of,
    window,
    without_quotations,
)
from cc_core.language.requests import asks, is_request, is_text_task, wants_something
from cc_core.names import ENGLISH

# The most confidence in a turn of several languages: the choice between its pieces may be wrong, however sure the
# language of the chosen piece is.
MIXED_CONFIDENCE: Final = 0.95
# The characters of the longest label at the end of a text.
LONGEST_CUE: Final = 24
# How many paragraphs between the first and the last are read.
MIDDLE: Final = 6

# A text without either is one line without labels, tags and keys. Joined into one pattern, they would be slower.
_STRUCTURE = re.compile(r"[\n<>{}\[\]|:#*&=]")
_ITEM = re.compile(r"\W*(?:\d{1,3}[.)]|[a-z]\))")


def read_turn(text: str, read: Read) -> Reading:
    """The language of a turn: of its question or instruction, whatever stands around it.

    Args:
        text: of any length.
        read: reads the language of one passage.
    """
    reading = _read_turn(text, read)
    if "`" in text or "~~~" in text:
        reading = _fenced(text, reading, read) or reading
    if not reading.mixed or reading.detection.confidence <= MIXED_CONFIDENCE:
        return reading
    return replace(reading, detection=replace(reading.detection, confidence=MIXED_CONFIDENCE))


def _read_turn(text: str, read: Read) -> Reading:
    text = normalise(window(text))
    if is_lone_code(text):
        return read("")
    if not (_STRUCTURE.search(text) or _ITEM.match(text)):
        return _read_line(prose(text), read)
    parts = parts_of(_without_cue(text))
    own = _newest([part for part in parts if part.rank is Rank.OWN], read)
    plain = _together(_newest_turn(parts, Rank.PLAIN), read)
    if own is not None and plain is not None:
        decided = _own_beside_plain(own, plain)
        if decided is not None:
            return decided
    if own is None and plain is not None and (subject := _subject(parts, plain, read)) is not None:
        return subject
    for reading in (own, plain):
        if reading is not None and reading.language is not None and not _announces(reading):
            return reading
    if own is not None and own.language is None and own.letters:
        return own
    announced = next((reading for reading in (own, plain) if reading is not None and reading.language), None)
    passage = _together(_newest_turn(parts, Rank.PASSAGE), read)
    if announced is not None:
        foreign = passage is not None and passage.language not in (None, ENGLISH) and asks(passage.detection.text)
        return passage if passage is not None and foreign else announced
    if passage is not None and passage.language is not None:
        return passage
    for reading in (plain, passage):
        if reading is not None and reading.letters:
            return reading
    rest = _together([part for part in parts if part.rank < Rank.PASSAGE], read)
    return rest if rest is not None and rest.language else _read_region(prose(text), read)


def _without_cue(text: str) -> str:
    """``text`` without a last line such as ``Réponse :``, which only asks the model to begin, in whatever language."""
    said = text.rstrip()
    if not said.endswith(":"):
        return text
    rest, _, cue = said.rpartition("\n")
    asked = (
        len(cue) > LONGEST_CUE or rank_of(cue.rstrip(" :")) is not None or is_request(cue) or is_english_request(cue)
    )
    return text if asked or not rest.strip() else rest


def _fenced(text: str, outside: Reading, read: Read) -> Reading | None:
    """The reading of text in fences or marked as code, where that is all the turn says; else None.

    Beside an English announcement of a question, program code does not count: its author may be somebody else.
    """
    empty = not outside.letters
    if not empty and (outside.language not in (None, ENGLISH) or use_of(outside.detection.text) is not Use.FRAME):
        return None
    inside = _read_turn(fenced(text, with_code=empty), read)
    if empty:
        return inside if inside.letters else None
    told = inside.language not in (None, ENGLISH) and tells_beside(inside.detection.text, inside, {Use.OTHER})
    return replace(inside, mixed=True) if told else None


def _newest(parts: list[Part], read: Read) -> Reading | None:
    """The reading of the last part that decides, or else of the last part; None without parts.

    A label that comes a second time begins a new turn. Other labels continue the turn, and its languages compete.
    """
    last: Reading | None = None
    english: tuple[str, Reading] | None = None
    turn: set[str] = set()
    for part in reversed(parts[-MIDDLE:]):
        if part.label in turn and (english or last):
            break
        turn.add(part.label)
        text = prose(part.text)
        reading = _read_region(text, read)
        if reading.language is not None and reading.language != ENGLISH:
            if english is None or not english_decides([english], [(text, reading)], english_first=False):
                return reading if english is None else replace(reading, mixed=True)
            break
        if reading.language == ENGLISH:
            english = english or (text, reading)
        last = last or reading
    return english[1] if english else last


def _subject(parts: list[Part], body: Reading, read: Read) -> Reading | None:
    """The reading of a mail's subject, if the question stands there and the ``body`` is "Thanks, Dave"; else None."""
    found = [part for part in parts if part.label in SUBJECTS]
    if not found or body.language not in (None, ENGLISH):
        return None
    use = use_of(body.detection.text)
    most = SHORT_ENGLISH if use is Use.FRAME else LONGEST_NAME
    if use in (Use.TASK, Use.QUESTION) or body.letters > most:
        return None
    subject = _together(found[-1:], read)
    if subject is None or subject.language in (None, ENGLISH):
        return None
    title = subject.letters < LONGEST_NAME and not wants_something(found[-1].text, subject.language)
    return None if title or not tells(subject) else replace(subject, mixed=True)


def _newest_turn(parts: list[Part], rank: Rank) -> list[Part]:
    """The parts of ``rank`` in the newest turn. A label that comes again after the model's words begins a new one."""
    found: list[Part] = []
    answered = False
    later: set[str] = set()
    for part in reversed(parts):
        answered = answered or (part.rank is Rank.MODEL and bool(later))
        if part.rank is not rank or (answered and part.label in later):
            continue
        if part.label:
            later.add(part.label)
        found.append(part)
    return found[::-1]


def _own_beside_plain(own: Reading, plain: Reading) -> Reading | None:
    """Which of a labelled and an unlabelled text decides; None where their languages do not show it."""
    pair = (own.language, plain.language)
    if None in pair or pair.count(ENGLISH) != 1:
        return own if own.language not in (None, ENGLISH) else None
    text = plain.detection.text
    if own.language == ENGLISH:
        asking = use_of(own.detection.text) in (Use.TASK, Use.QUESTION)
        return None if asking or not wants_something(text, plain.language) else replace(plain, mixed=True)
    over = is_task(text) and not is_text_task(own.detection.text, own.language)
    return replace(plain if over else own, mixed=True)


def _together(parts: list[Part], read: Read) -> Reading | None:
    return _read_region(prose("\n\n".join(part.text for part in parts)), read) if parts else None


def _announces(reading: Reading) -> bool:
    """Whether what was read as English only announces a question."""
    return reading.language == ENGLISH and use_of(reading.detection.text) is Use.FRAME


def _read_region(text: str, read: Read) -> Reading:
    """The language of text without labels."""
    pieces = paragraphs(text)
    if len(pieces) == 2 and pieces[0].rstrip().endswith((":", "：")):
        pieces = [" ".join(pieces)]
    if len(pieces) == 1:
        return _read_line(pieces[0], read)
    return _among(pieces, _read_line, read) or read(text)


def _read_line(text: str, read: Read) -> Reading:
    """The language of one paragraph: of the text before a colon, of that outside quotations, or of one sentence."""
    if "\n" in text and (values := values_of(text)) is not None:
        return _read_region("\n\n".join(values), read) if values else read(text)
    if ":" in text and (found := read_around_colon(text, read)):
        return found
    frame = without_quotations(excerpt(text))
    if frame != excerpt(text) and (outside := read(frame)).decides(SHORTEST_FRAME):
        return outside
    whole = read(text)
    pieces = sentences(text)
    sure = whole.language not in (None, ENGLISH) and whole.detection.confidence >= SURE
    # A short English task at one end changes little of what the words say together.
    if sure and not (len(pieces) > 1 and (is_english_request(pieces[0]) or is_english_request(pieces[-1]))):
        return whole
    if len(pieces) > 1 and (found := _among(pieces, lambda piece, read: read(piece), read)):
        return found
    return whole


def _beside(english: list[tuple[str, Reading]], pieces: list[tuple[str, Reading]]) -> list[tuple[str, Reading]]:
    """Which of ``pieces`` count as foreign beside the ``english`` ones."""
    foreign = [pair for pair in pieces if pair[1].language != ENGLISH]
    if all(tells_surely(reading) for _, reading in foreign):
        return foreign
    uses = {use_of(piece) for piece, _ in english}
    return [pair for pair in foreign if tells_beside(*pair, uses)]


def _among(pieces: list[str], read_piece: Callable[[str, Read], Reading], read: Read) -> Reading | None:
    """The reading of the piece that decides; None where none does.

    Args:
        pieces: two or more, in their order.
        read_piece: reads the language of one piece.
        read: reads the language of one passage.
    """
    edges = [(piece, read_piece(piece, read)) for piece in (pieces[0], pieces[-1])]
    decided = [(piece, reading) for piece, reading in edges if tells(reading)]
    languages = {reading.language for _, reading in decided}
    if len(pieces) > 2 and not (len(languages) == 1 and len(decided) == 2 and ENGLISH not in languages):
        between = (
            pieces[1:-1] if len(pieces) - 2 <= MIDDLE else pieces[1 : 1 + MIDDLE // 2] + pieces[-1 - MIDDLE // 2 : -1]
        )
        middle = [(piece, reading) for piece in between if tells(reading := read_piece(piece, read))]
    else:
        middle = []
    english = [(piece, reading) for piece, reading in (*decided, *middle) if reading.language == ENGLISH]
    foreign = [(piece, reading) for piece, reading in decided if reading.language != ENGLISH]
    if english:  # beside English, names and titles look foreign
        foreign = _beside(english, foreign) or _beside(english, middle)
    elif not foreign:
        foreign = middle
    if not foreign:
        undecided = [
            reading for _, reading in edges if reading.language is None and reading.letters >= SHORTEST_PARAGRAPH
        ]
        if undecided and english and all(use_of(piece) is Use.FRAME for piece, _ in english):
            return undecided[0]
        return min((reading for _, reading in english), key=lambda reading: reading.letters, default=None)
    chosen = min(foreign, key=lambda pair: pair[1].letters)
    if not english:
        return chosen[1]
    english_first = pieces.index(english[0][0]) < pieces.index(foreign[0][0])
    found = english[0] if english_decides(english, foreign, english_first=english_first) else chosen
    return replace(found[1], mixed=True)
