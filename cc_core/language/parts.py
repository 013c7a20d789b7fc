"""Cuts a user's turn into parts, and says what each is: the question, its passages, the model's cue, mail, log."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from cc_core.language.chat_log import with_speakers
from cc_core.language.english import begins_with_task
from cc_core.language.labels import INLINE, ROLES, SUBJECTS, Rank, is_heading, rank_of
from cc_core.language.markup import unmarked
from cc_core.language.noise import comments_of_code, is_field, is_log, is_quoted_mail, log_message
from cc_core.language.phrases import LONGEST as LONGEST_PHRASE
from cc_core.language.phrases import phrase_language
from cc_core.language.prose import tells_nothing
from cc_core.language.requests import asks, is_request
from cc_core.language.signatures import begins_signature


class Part(NamedTuple):
    """A piece of a turn.

    Args:
        rank: what kind of piece it is.
        text: its paragraphs, divided by blank lines.
        label: its label in lower case; empty without one.
    """

    rank: Rank
    text: str
    label: str = ""


# The beginning of a line before its text: marks of headings, lists and quotations, and numbers of items.
_BULLET = re.compile(r"[ \t]*(?:[#>*+•=-]+[ \t]+|#{1,6}(?=\w)|[\[(]?\d{1,3}[.):\]][ \t]+|\(?[a-z]\)[ \t]+)*")
# Runs of blanks are bounded or possessive: a client may send 100 KB of them.
_LABEL = re.compile(
    r"[*_\[(]{0,3}([^\W\d_](?:[^\n:<>{}\"|?!;¿¡*]|:(?=\d)){0,48}?)(?=[^\w'-]|[_\d])[*_\])]{0,3}[ \t]{0,16}+"
    r"(?:\[?\(?#?\d{0,3}\)?\]?)[ \t]?:"
    r"(?:[*_]{1,3})?(?=\s|$|[*_\"'(\[]|[^\x00-\x7f])"
)
# Longer than any label.
_LONGEST_LABEL: Final = 90
_HEADING = re.compile(r"[*_=\[(]{0,3}([A-Za-z][\w '-]{0,40}+)[*=\])]{0,3}[ \t=#]*+$")
# A prompt for a turn, as in a terminal.
_PROMPT = re.compile(r"<?([A-Za-z]{2,10})>{1,3}[ \t]+(?=\S)")
_INLINE_LABEL = re.compile(
    rf"(?<=[ \t.?!。？！؟।…\])>\"'])((?:[A-Z][\w'-]{{0,20}}[ -]){{0,2}}"
    rf"(?:{'|'.join(INLINE)})(?:[ ]?\d{{1,2}})?:)$"
)
# A label at the beginning of a line, without its last word.
_LABEL_BEGINNING = re.compile(r"[\W\d]*+(?:[A-Z][\w'-]*+(?:[ ]|(?<=-))){0,4}")
# The end of a label, and its last word: if that is not in `INLINE`, the label itself is not searched for.
_LABEL_END = re.compile(r":(?=\s|$)")
_LABEL_WORD = re.compile(r"(?<![A-Za-z])([A-Za-z]{1,20})(?:[ ]?\d{1,2})?:$")
_LONGEST_WORD: Final = 24
_INLINE_WORDS: Final = frozenset(INLINE)
# Longer than any label inside of a line.
_LONGEST_INLINE: Final = 64
_RULE = re.compile(r"[\s*_=#~|:+.-]*$")
# One of several answers to choose from; it is more often a name or a term than a sentence.
_OPTION = re.compile(r"\s*(?:\(?[A-Ha-h]\)|[A-H]\.)\s")
# The header of a mail in any language: lines at the beginning, before a blank line and more text.
_HEADER = re.compile(r"\s*((?:[^\W\d_][\w-]{1,15}:[ \t]\S[^\n]{0,100}\n){2,12})[ \t]*\n(?=\s*\S)")
_QUESTIONS: Final = (Rank.OWN, Rank.PLAIN, Rank.PASSAGE)
_FEWEST_FIELDS: Final = 2
MOST_LABEL_WORDS: Final = 5
MOST_HEADING_WORDS: Final = 3


def parts_of(text: str) -> list[Part]:
    """The parts of a turn, in their order; none of them is empty.

    A label speaks for its paragraph, ``Question:`` for all paragraphs that follow, and a mail's header for its line.
    """
    text = unmarked(with_speakers(text))
    subjects: list[Part] = []
    if header := _header(text):
        lines = (line.partition(":") for line in text[:header].splitlines())
        subjects = [
            Part(Rank.NOISE, value.strip(), label)
            for name, _, value in lines
            if (label := name.strip().lower()) in SUBJECTS
        ]
        text = text[header:]
    if "\n" in text and (comments := comments_of_code(text)) is not None:
        text = comments
    fields: frozenset[str] = frozenset()
    if ":" in text:
        text = _with_labels_in_lines(text)
        fields = _fields(text)
    parts: list[tuple[Rank, list[str], str]] = [(Rank.PLAIN, [], "")]
    rank, waiting, quoting = Rank.PLAIN, False, False
    for line in text.split("\n"):
        rule = not line[:1].isalnum() and _RULE.match(line) is not None
        if rule and not (parts[-1][1] and line and begins_signature(line)):
            parts[-1][1].append("")
            if not waiting and rank is not Rank.OWN:
                rank = Rank.PLAIN
            continue
        bullet = _BULLET.match(line).end()  # type: ignore[union-attr]
        bare = line[bullet:]
        ranked, value, label = _labelled(bare, marked="#" in line[:bullet])
        if ranked is not None:
            parts.append((ranked, [value], label))
            waiting = not value
            rank = ranked if waiting or ranked in (Rank.OWN, Rank.PASSAGE) else Rank.PLAIN
            continue
        this = rank
        if parts[-1][1] and line and begins_signature(line):
            this = rank = Rank.NOISE
            waiting = line.rstrip()[-1:] in ",-—_~"  # for the name
        elif line in fields:
            this = Rank.NOISE
        elif is_log(line):
            message = log_message(line)
            this, bare = Rank.NOISE, bare if message is None else message
        elif is_quoted_mail(line) and (quoting or line[0] != ">"):
            this, quoting = Rank.NOISE, True
        elif _OPTION.match(line) and rank is Rank.PLAIN:
            this = Rank.PASSAGE
        else:
            waiting = False
        if parts[-1][0] is not this:
            parts.append((this, [], ""))
        parts[-1][1].append(bare)
    found = [Part(rank, body, label) for rank, lines, label in parts if (body := "\n".join(lines).strip())]
    authors = [index for index in range(len(found) - 1) if _is_author(found[index], found[index + 1 :])]
    for index in authors:
        found[index] = found[index]._replace(rank=Rank.NOISE)
    return subjects + found


def _is_author(part: Part, later: list[Part]) -> bool:
    """Whether ``part``, such as ``user: anna``, names who wrote what a ``later`` label announces."""
    name = part.text.rstrip(",\n ")  # of JSON
    if part.rank is not Rank.OWN or part.label not in ROLES or len(name) > LONGEST_PHRASE:
        return False
    if not (tells_nothing(name) or (name.isascii() and len(name.split()) == 1)):
        return False
    announced = next((other for other in later if other.rank is not Rank.NOISE), None)
    if announced is None or not announced.label or announced.rank not in (Rank.PLAIN, Rank.PASSAGE):
        return False
    return not asks(name) and not name.endswith("!") and not is_request(name) and phrase_language(name) is None


def _header(text: str) -> int:
    """Where the header of a mail ends; 0 without one. A label that announces a text is no part of a header."""
    found = _HEADER.match(text)
    if found is None or any(rank_of(line.partition(":")[0]) in _QUESTIONS for line in found[1].splitlines()):
        return 0
    return found.end()


def _fields(text: str) -> frozenset[str]:
    """The lines of a form, whose labels do not say who wrote them; none where there are fewer than two."""
    found = [line for line in text.split("\n") if is_field(line) and rank_of(line.partition(":")[0]) is None]
    return frozenset(found) if len(found) >= _FEWEST_FIELDS else frozenset()


def _with_labels_in_lines(text: str) -> str:
    """``text`` with a line break before each label that stood inside of a line."""
    pieces, done = [], 0
    for colon in _LABEL_END.finditer(text):
        word = _LABEL_WORD.search(text, max(0, colon.start() - _LONGEST_WORD), colon.end())
        if word is None or word[1] not in _INLINE_WORDS:
            continue
        label = _INLINE_LABEL.search(text, max(done, colon.end() - _LONGEST_INLINE), colon.end())
        if label is None:
            continue
        line = text[text.rfind("\n", 0, label.start()) + 1 : label.start()]
        if not _LABEL_BEGINNING.fullmatch(line):
            pieces.append(text[done : label.start()])
            done = label.start()
    return "\n".join((*pieces, text[done:]))


def _labelled(line: str, *, marked: bool) -> tuple[Rank | None, str, str]:
    """The rank that a line's label gives, the rest of the line, and the label.

    Args:
        line: the line without its bullet.
        marked: whether the bullet marks a heading.
    """
    if ":" in line[:_LONGEST_LABEL] and (match := _LABEL.match(line)) and len(match[1].split()) <= MOST_LABEL_WORDS:
        label = match[1].strip()
        if label.endswith(" from") and begins_with_task(label):
            return None, "", ""  # "Key takeaways from: …" is a task, and "Received from: …" a header
        return rank_of(label), line[match.end() :].strip(" \t*_"), label.lower()
    if (prompt := _PROMPT.match(line)) and prompt[1].lower() in ROLES:
        return rank_of(prompt[1]), line[prompt.end() :], prompt[1].lower()
    heading = _HEADING.match(line)
    if heading and len(heading[1]) > 1 and len(heading[1].split()) <= MOST_HEADING_WORDS:
        marked = marked or len(heading[1]) < len(line.rstrip())
        if not marked and not is_heading(heading[1]):
            return None, "", ""
        return rank_of(heading[1]), "", heading[1].strip().lower()
    return None, "", ""
