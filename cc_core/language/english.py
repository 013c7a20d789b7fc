"""What an English paragraph beside foreign ones is: a task about that text, a frame around it, or a passage."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from cc_core.language.prose import tells_nothing
from cc_core.language.requests import asks


class _Caseless:
    """Finds a pattern of English words, which is written in lower case, whatever the case of the text.

    An ASCII text is put into lower case first: matching without regard to case would take three times as long.
    """

    def __init__(self, pattern: str) -> None:
        self._small: Final = re.compile(pattern)
        self._caseless: Final = re.compile(pattern, re.IGNORECASE)

    def search(self, text: str) -> re.Match[str] | None:
        return self._small.search(text.lower()) if text.isascii() else self._caseless.search(text)


# What may come before the verb of an instruction.
_LEAD: Final = (
    r"(?:(?:please|pls|now|then|first|next|kindly|just|also|hi|hello|hey|ok|okay|your task is|your job is|can|could|"
    r"would|will|you|i need|i want|i would like|i'd like|help me|help|with|some|let's|to|and)\b[\s,:]*){0,6}"
)
_OPERATION: Final = (
    r"(?:translat(?:e|ing|ion)|summari[sz](?:e|ing)|rewrit(?:e|ing)|rephrase|paraphrase|proofread|classify|"
    r"categori[sz]e|extract|transcribe|transliterate|annotate|detect the|identify the|shorten|simplify|spell[- ]?check|"
    r"tl;?dr|(?:correct|fix|improve|label|edit|polish|analy[sz]e) (?:the|this|these|any|all|my|it)|"
    r"(?:correct|fix|improve|edit|polish)(?=\s*$))\b"
)
_PRODUCT: Final = (
    r"(?:summary|summaries|synopsis|gist|translations?|paraphrase|sentiment|key ?words?|(?:key|main) points?|"
    r"(?:key|main) ideas?|takeaways|headline|hashtags|synonyms|antonyms|grammar|spelling|punctuation|pronunciation|"
    r"transcription|transliteration|entities|(?:title|caption|heading)(?= for ))\b"
)
_TEXT: Final = (
    r"(?:this|that|these|those|it|they|the (?:following|(?:above|below|next|given|attached) )|"
    r"the (?:text|passage|article|sentence|review|paragraph|poem|e-?mail|message|tweet|comment|word|phrase)s?)\b"
)
_TEXT_NOUN: Final = (
    r"(?:text|passage|article|sentence|review|paragraph|poem|e-?mail|letter|message|tweet|comment|proverb|idiom|saying|"
    r"expression|essay|story|excerpt|quote|post|speech|lyrics|headline|ticket|complaint|"
    r"joke|pun|verse|slogan|caption)s?\b"
)
_POINTED_TEXT: Final = (
    r"(?:(?:this|that|these|those|the (?:following|above|attached|given|next))\s(?:[\w-]+\s){0,2}?"
    rf"(?:{_TEXT_NOUN}|(?:word|phrase)s?\b)|the (?:[\w-]+\s)?{_TEXT_NOUN}\s(?:below|above))"
)
# A text that is called one. Of an answer, the first or the last sentence is spoken of.
_NAMED_TEXT: Final = (
    rf"(?:{_POINTED_TEXT}|"
    rf"(?!the (?:first|last|final|opening)\b)(?:the|my|each|every)\s(?:[\w-]+\s){{0,2}}?{_TEXT_NOUN})"
)
# Verbs of tasks about a text, if they name one. Without one, they are about anything.
_STUDY: Final = (
    r"(?:check|explain|describe|find|list|name|count|compare|rate|score|evaluate|assess|grade|judge|highlight|underline|"
    r"interpret|parse|split|break (?:down|up)|convert|turn|change|replace|remove|condense|critique|outline|point out|"
    r"determine|decide|tell|state|guess|mark|tag|tokeni[sz]e|verify|define|reword|reformulate|restate|render|"
    r"(?:write|give|make|create|provide|generate|suggest|show)(?= .{0,60}\b(?:of|for|from|in|about|on)\b))\b"
)
# To answer is no task about a text: every assistant does it.
_NO_ANSWER: Final = r"(?![^.!?\n]*\b(?:your\b|answer|repl[yi]|respon[ds]|help|assist|solv|solution))"
# Who names a product does not say who does what: "kind of what I was looking for" names none.
_NO_CLAUSE: Final = r"(?![^.!?\n]*\b(?:i|we|you|he|she|they|was|were|is|are)\b)"
# Words with which no demand begins.
_NO_VERB: Final = (
    r"(?:i|you|he|she|it|we|they|this|that|these|those|an?|the|my|our|your|his|her|its|their|all|any|some|no|none|each|"
    r"every|both|one|two|three|there|in|on|at|to|for|from|with|of|by|as|if|while|since|because|after|before|during|and|"
    r"or|but|so|not|sorry|re|about|is|are|was|were|has|have|had|can|could|will|would|today|yesterday)"
)
# What may stand between a verb and the product of a text.
_OF_PRODUCT: Final = (
    r"(?:write|give|make|create|provide|generate|produce|suggest|check|find|show(?= (?:me|the|a)\b)|list|need|want|get|"
    r"me|us|a|an|the|its|all|some|any|key|main|short|brief|quick|concise|good|one-sentence|what|what's|is|are|and|"
    r"spelling|(?-i:[A-Z])[a-z]+(?=\s[a-z]+ (?:of|for)\b))\b"
)
# A task about a text in any language: such an instruction is the user's own. Its form shows it, since its words also
# occur in passages and in descriptions of an assistant.
_TASK = re.compile(
    rf"(?:^|[.!?:;,\n(]\s*+)\W{{0,3}}(?:{_LEAD}{_OPERATION}(?P<object>[^.!?\n]{{0,80}})|"
    rf"(?!you\b){_LEAD}(?:{_STUDY}{_NO_ANSWER}[^.!?\n]{{0,80}}?\b{_NAMED_TEXT}|"
    rf"{_STUDY}{_NO_ANSWER}[^.!?\n]{{0,60}}\s(?:in|from)\s*:?\s*$|"
    rf"(?!(?:{_NO_VERB}|here|what|who|which|where)\b)(?=(?:[\w'-]+\s+){{1,6}}(?:of|for)\s*:?\s*$){_NO_ANSWER}{_NO_CLAUSE}|"
    r"explain (?!your)(?:[\w ]{0,24} )?(?:word|line|sentence) (?:by|for) (?:word|line|sentence)(?=\s*[.:]*\s*$)|"
    rf"(?:{_OF_PRODUCT}[\s,]*){{0,6}}{_PRODUCT}(?:\s*(?:check|analysis))?"
    rf"(?:\s*[.:!?]*\s*$|\s+(?:of|for|in|from)(?: (?:{_TEXT}|(?-i:[A-Z]))|\s*:?\s*$))))|"
    r"\b(?=[wmiadh])(?:(?:which|what) language\b|"
    rf"what (?:does|do|did|is|are) {_TEXT}|what does .{{1,40}}\bmean|meaning of|"
    rf"(?:is|are|was|does) {_TEXT}[\w ]{{0,20}}\b(?:right|correct|grammatical|wrong|true|false|formal|polite|mean)\b|"
    r"how (?:do|would|can|should) (?:you|i|we|one) (?:say|translate|pronounce|spell|read)\b|"
    r"(?:who (?:wrote|said|painted|sang|sings)|what (?:genre|tone|style|dialect|kind|type)) .{0,30}\b"
    rf"(?!it\b|they\b){_TEXT})",
    re.IGNORECASE,
)
# A question about a text. It has to point at the text; otherwise it may be part of a story.
_TEXT_QUESTION = _Caseless(
    r"(?:^|[.!?:\n]\s*+)\W{0,3}(?:is|are|was|were|do|does|did|has|have|will|would|can|could|should|what|which|whom?|"
    rf"whose|where|when|why|how|(?:in|about|to) wh\w+)\b{_NO_ANSWER}[^.!?\n]{{0,80}}?\b{_POINTED_TEXT}"
    r"[^.!?\n]{0,80}\?"
)
# What makes a task one about the answer, about nothing, or about mistakes that may come.
_NO_OBJECT = re.compile(
    r"\b(?:your|yourself|nothing|anything|me)\b|\bthe (?:answer|reply|response|output)\b|"
    r"\bmy (?:mistakes|errors|typos)\b|\bif (?:i|there|you|any|needed|necessary|possible)\b",
    re.IGNORECASE,
)
# Words that announce a question, describe an assistant, or ask for a form of the answer: not the question itself.
_FRAME = _Caseless(
    r"\b(?:questions?|quer(?:y|ies)|instructions?|requests?|assistant|helpful|step[- ]by[- ]step|step|think|"
    r"reason\w*|answer\w*|respon[ds]\w*|"
    r"repl(?:y|ies)|expert|you are|you will|your task|concise\w*|brief\w*|final|format|json|boxed|words?|"
    r"sentences? or|thanks?|thank you|"
    r"regards|hi|hello|hey|dear|please help|help me|sent from|subject|context|knowledge|solve|problem)\b"
)
# Instructions for the manner of an answer.
_MANNER = _Caseless(
    r"^\W*(?:please )?(?:be|do not|don['’]t|never|always|avoid|keep (?:it|your|the|to)|stay|remember|make sure|ensure|"
    r"limit|only|no|use (?!th(?:is|e|ese|at)\b)[\w-]+|(?:write|speak|talk|sound|act) (?:in|with|as|like|\w+ly))\b"
)
# A request for an answer to a question that stands elsewhere, also where it ends with a question mark.
_ANNOUNCEMENT = _Caseless(
    r"\b(?:can|could|would|will) (?:you|anyone|somebody|someone) (?:please )?(?:help|answer|solve|respond|reply)\b|"
    r"\b(?:may|can|could|might) (?:i|we) (?:please )?ask\b|\b(?:do|does|would) (?:you|anyone|anybody|someone|somebody)"
    r"(?: here)?(?: happen to)? (?:know[\w ,]{0,16}\?|have (?:an|any|a)\b)|\bi have (?:a|another|one) question\b|"
    r"\b(?:need|want|looking for)(?: some| your)? help\b|\bwhat(?: is|'s| would be) (?:the|your) "
    r"(?:(?:correct|right|best|final) )?(?:answer|solution|option|choice)\b|\bany (?:ideas?|help|thoughts)\b"
)
# How only English begins a question or an instruction. The next word's small letter tells it from a title.
_OPENING = re.compile(
    r"\W*(?:(?i:who|what|where|when|why|how|which)(?:['’](?:s|re|d|ll))?\s+[a-z]+\b|(?i:who|what|where|how)['’]s\b|"
    r"(?i:explain|translate|summari[sz]e|define|pronounce|synonyms? (?:of|for)|please|"
    r"meaning of|definition of|lyrics (?:of|to|for)|recipe for|plot of|"
    r"tell me|give me|write (?:a|an|the|me)|list (?:the|all|some)|difference between|cheapest|"
    r"is (?:this|it|there|that|the)|are (?:there|these|those|the|you)|does|did|do you|can (?:you|i)|could you|should i|"
    r"i am|i'm)\b)"
)
_IS_A_NAME = re.compile(r"\W*(?:Is|Are)\s+[A-Z]\w*\s+(?:\w+\s+){0,6}\w+\s?\?")
# Languages by their English names, without those whose name is the same in German, such as "Hindi".
_LANGUAGES: Final = (
    "english|arabic|german|greek|spanish|basque|french|indonesian|italian|japanese|korean|portuguese|russian|turkish|"
    "vietnamese|chinese"
)
# How only English ends a question about a name or a foreign word.
_CLOSING = re.compile(rf"\s(?:means? what|in (?:{_LANGUAGES}))\W*$", re.IGNORECASE)
_LONGEST_CLOSING: Final = 20
# The words before a name, up to the last preposition.
_BEFORE_NAME = re.compile(r"\W*(?:[A-Z]?[a-z'’-]+\s+){1,6}(?:of|in|from|about|by|to|for|at|near)\s+(?=[^\W\d_])")
# A time, which may follow the name.
_TIME = re.compile(r"\s(?:today|tomorrow|tonight|(?:right )?now|(?:this|next) (?:week(?:end)?|month|year))\W*$")
# Words that point at a text outside the instruction. "In one sentence" does not: it says how to answer.
_POINTER: Final = (
    r"\b(?:this|these|following|above|below|text|passage|article|document|review|e-?mail|letter|story|poem|message|"
    r"tweet|comment|essay|lyrics|post|speech|news|quote|(?<!\bfirst )(?<!\blast )(?<!\bone )(?:paragraph|sentence))\b"
)
_POINTING = _Caseless(_POINTER)
_DEMANDING: Final = (
    r"(?:analy[sz]e|change|check|comment|complete|consider|continue|cut|describe|discuss|draft|examine|expand|explain|"
    r"find|finish|give|guess|help|list|look|make|name|quote|rank|rate|read|review|score|see|show|sort|study|take|tell|"
    r"turn|use|write)\b(?!\s(?:from|of|by|was|is|has|\w+ed)\b)"
)
# A demand, a wish or a question that points at a text. A remark on a text wants nothing.
_DEMAND = _Caseless(
    rf"(?:^|[.!?:;\n(]\s*+)\W{{0,3}}{_LEAD}(?:{_DEMANDING}|(?:who|whom|whose|what|where|when|why|how|which)\b|"
    r"(?:i|we)(?:'d| would)? (?:need|want|like|wonder)\b|here(?:'s| is| are) (?!my\b)|"
    rf"(?!{_NO_VERB}\b)[a-z]++(?<!ed)(?<!ing)(?<!ly)\s(?=(?:this|these|those|the)\b))[^.!?\n]{{0,120}}?{_POINTER}"
)
# A question followed by the form that its answer shall have.
_ANSWERED = _Caseless(
    r"\?\s+(?:(?:please )?(?:answer|respond|reply) (?:in|with|by|using|yes|only|just|either|as|\w+ly\b)|yes or no\b|"
    r"(?:in )?one word\b)"
)
# How many characters of a long paragraph are read, at either end.
_READ: Final = 100


class Use(Enum):
    """What an English paragraph is for."""

    TASK = "an operation on the text beside it"
    QUESTION = "asks"
    POINTER = "points at the text beside it"
    FRAME = "announces a question, or says how to answer"
    REMARK = "tells something of a text"
    OTHER = "anything else"


def use_of(text: str) -> Use:
    """What the English ``text`` is for, as far as its words show. Of a long text, only the ends are read."""
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]} {text[-_READ:]}"
    if is_task(text):
        return Use.TASK
    if _ANNOUNCEMENT.search(text):
        return Use.FRAME
    if asks(text) or _ANSWERED.search(text):
        return Use.QUESTION
    if _FRAME.search(text) or _MANNER.search(text):
        return Use.FRAME
    if _POINTING.search(text) is None:
        return Use.OTHER
    return Use.POINTER if _DEMAND.search(text) else Use.REMARK


def opens_in_english(text: str) -> bool:
    """Whether ``text`` begins as only an English question or instruction does, whatever names follow."""
    return _OPENING.match(text) is not None


def closes_in_english(text: str) -> bool:
    """Whether ``text`` ends as only an English question about a name or a foreign word does."""
    return _CLOSING.search(text[-_LONGEST_CLOSING:]) is not None


def before_name(text: str) -> str | None:
    """The words before the name that ends ``text``, such as "history of" before "Việt Nam"; None without a name.

    A time, such as "tomorrow", may follow the name.
    """
    begun = _BEFORE_NAME.match(text)
    return begun[0] if begun and tells_nothing(_TIME.sub("", text[begun.end() :])) else None


def asks_about_name(text: str) -> bool:
    """Whether ``text`` may be an English question about a name, as in "Is … open?". It may also be Dutch."""
    return _IS_A_NAME.match(text) is not None


def is_task(text: str) -> bool:
    """Whether the English ``text`` holds a task about a text, or asks what a text is."""
    if any(_NO_OBJECT.search(task["object"] or "") is None for task in _TASK.finditer(text)):
        return True
    return "?" in text and _TEXT_QUESTION.search(text) is not None


def begins_with_task(text: str) -> bool:
    """Whether ``text`` begins with a task, as `is_task` has it."""
    return (task := _TASK.match(text)) is not None and _NO_OBJECT.search(task["object"] or "") is None


def is_english_request(text: str) -> bool:
    """Whether ``text`` begins as only an English question or instruction does, or with a task."""
    return opens_in_english(text) or begins_with_task(text)


def points(text: str) -> bool:
    """Whether ``text`` points at a text outside itself."""
    return _POINTING.search(text) is not None
