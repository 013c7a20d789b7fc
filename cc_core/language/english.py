"""What an English paragraph beside foreign ones is for: a task about that text, a frame around it, or a passage."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

# What is done to a text, whatever its language: such an instruction is the user's own.
_TASK = re.compile(
    r"\b(?:translat\w*|summary|summaries|summari[sz]\w*|rewrit\w*|rephras\w*|paraphras\w*|proofread\w*|grammar\w*|spell\w*|"
    r"punctuation|classif\w*|"
    r"categori[sz]\w*|sentiment|extract\w*|transcri\w*|transliterat\w*|tl;?dr|keywords?|headline|"
    r"which language|what language|"
    r"what (?:does|do|did|is|are) (?:this|that|these|those|it|they)\b|what does .{1,40}\bmean|meaning of|"
    r"correct (?:the|this|any|my|all)|"
    r"fix (?:the|this|my)|improve (?:the|this|my)|shorten|simplify|entit(?:y|ies)|annotat\w*|detect the)\b",
    re.IGNORECASE,
)
# Words of those who announce a question or an assistant, or ask for a form of the answer: no user's question.
_FRAME = re.compile(
    r"\b(?:questions?|quer(?:y|ies)|instructions?|requests?|assistant|helpful|step[- ]by[- ]step|step|think|"
    r"reason\w*|answer\w*|respon[ds]\w*|"
    r"repl(?:y|ies)|expert|you are|you will|your task|concise\w*|brief\w*|final|format|json|boxed|words?|"
    r"sentences? or|thanks?|thank you|"
    r"regards|hi|hello|hey|dear|please help|help me|sent from|subject|context|knowledge|solve|problem)\b",
    re.IGNORECASE,
)
# A request for an answer to a question that stands elsewhere, also where it ends with a question mark.
_ANNOUNCEMENT = re.compile(
    r"\b(?:can|could|would|will) (?:you|anyone|somebody|someone) (?:please )?(?:help|answer|solve)\b|"
    r"\b(?:need|want|looking for)(?: some| your)? help\b|\bwhat(?: is|'s| would be) (?:the|your) "
    r"(?:(?:correct|right|best|final) )?(?:answer|solution|option|choice)\b|\bany (?:ideas?|help|thoughts)\b",
    re.IGNORECASE,
)
# What points at a text that is not the instruction's own.
_POINTING = re.compile(
    r"\b(?:this|these|following|above|below|text|passage|article|paragraph|sentence|document|review|e-?mail|"
    r"letter|story|poem|message|"
    r"tweet|comment|essay|lyrics|post|speech|news|quote)\b",
    re.IGNORECASE,
)
# Of a long paragraph, so many characters at either end are read.
_READ: Final = 100


class Use(Enum):
    """What an English paragraph is for."""

    TASK = "an operation on the text beside it"
    QUESTION = "asks"
    POINTER = "points at the text beside it"
    FRAME = "announces a question, or says how to answer"
    OTHER = "anything else"


def use_of(text: str) -> Use:
    """What the English ``text`` is for, as far as its words tell. Of a passage, only the ends are read."""
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]} {text[-_READ:]}"
    if _TASK.search(text):
        return Use.TASK
    if _ANNOUNCEMENT.search(text):
        return Use.FRAME
    if asks(text):
        return Use.QUESTION
    if _FRAME.search(text):
        return Use.FRAME
    return Use.POINTER if _POINTING.search(text) else Use.OTHER


def asks(text: str) -> bool:
    """Whether ``text`` ends as a question does."""
    return text.rstrip("\"'”’»)]*_ \n").endswith(("?", "？", "؟", ";"))
