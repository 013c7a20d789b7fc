"""What a label says of the text after it. ``Question:``, ``<context>``, ``"content":`` and ``<|user|>`` are labels.

Labels are read word by word, so that "User question" and "Step-by-Step Answer" need no entry of their own.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from typing import Final


class Rank(IntEnum):
    """How much a piece of a prompt says about the user's language. The highest rank that has words decides."""

    NOISE = 0  #: text that no person wrote: mail headers, log lines, signatures
    MODEL = 1  #: text that the model said or will say, and the system's words
    PASSAGE = 2  #: the text that the question is about
    PLAIN = 3  #: text without a label, or with one that does not say who wrote it
    OWN = 4  #: the user's question or instruction


_WORDS: Final[dict[Rank, str]] = {
    Rank.OWN: (
        "question query problem user human usr prompter prompt instruction instruct inst exercise request ask asked "
        "customer client student riddle puzzle inquiry enquiry command utterance visitor caller patient guest"
    ),
    Rank.PLAIN: "input sentence utterances message messages msg statement claim comment review task job goal todo",
    Rank.MODEL: (
        "answer response assistant ai bot chatbot gpt chatgpt model output solution reply completion agent "
        "explanation reasoning rationale thought thoughts result system sys developer tool tools function functions "
        "observation environment ipython support label labels verdict conclusion analysis hint translation summary "
        "think thinking scratchpad final language lang locale format style tone role type id name status version "
        "parameters temperature stop rules constraints options choices example examples note notes date today time "
        "machine knowledge cutoff persona character"
    ),
    Rank.PASSAGE: (
        "context passage document doc article text paragraph background source reference evidence snippet excerpt "
        "content premise hypothesis data page chapter section history transcript search information abstract file "
        "body title heading quote material material fact facts story description log logs chunk knowledgebase web"
    ),
    Rank.NOISE: (
        "from to cc bcc sent subject betreff re fwd fw received organization organisation phone tel telephone mobile "
        "fax email e-mail mail website url http https uuid timestamp host accept cookie"
    ),
}
_RANKS: Final = {word: rank for rank, words in _WORDS.items() for word in words.split()}
_ROLE_WORDS: Final = (
    "user human prompter usr customer client assistant ai bot chatbot gpt chatgpt model agent system sys "
    "developer tool function observation environment ipython"
)
#: The words that name a role in a chat, at the beginning of a turn.
ROLES: Final = frozenset(_ROLE_WORDS.split())
#: Labels that name a speaker or a part only as a whole, and not as words of a longer label.
_ALONE: Final = {"q": Rank.OWN, "me": Rank.OWN, "you": Rank.OWN, "a": Rank.MODEL, "h": Rank.OWN, "u": Rank.OWN}
_SENTENCE_WORDS: Final = (
    "the this these those that my your our an about into to with describe explain tell give write make "
    "create generate list compute calculate find compare define continue complete discuss translate "
    "summarize summarise rewrite correct say is are extract classify identify detect fix improve analyze analyse "
    "check paraphrase rephrase shorten simplify edit"
)
#: The lines of a mail's header that may hold the whole question.
SUBJECTS: Final = frozenset(("subject", "betreff", "asunto", "objet", "assunto", "konu", "perihal", "тема", "θέμα"))
# A sentence with a colon at its end is no label, unless it announces a question.
_SENTENCE: Final = frozenset(_SENTENCE_WORDS.split())
# Words that may follow the user's own and change nothing.
_BEHIND_WORDS: Final = "is are was below here above for you me us now again please in number no nr s"
_BEHIND: Final = frozenset(_BEHIND_WORDS.split())
# Words that close the user's part, name an earlier one, or name a speaker that is not the user.
_ENDING: Final = frozenset(("end", "ends", "ended", "endof", "eof", "finish", "finished", "over"))
_EARLIER: Final = frozenset(
    ("previous", "prev", "prior", "earlier", "past", "former", "old", "example", "sample", "related", "similar")
)
_MACHINES: Final = frozenset(("system", "sys", "assistant", "ai", "bot", "developer", "tool", "agent"))
# A label never ends with these: "English translation of: …" is a task, and a text follows.
_UNFINISHED: Final = frozenset(("of", "for"))
_HEADING_WORDS: Final = (
    "new next current original given following relevant related retrieved main chat conversation search initial "
    "first second third last latest follow up standalone multiple choice free form short long full real actual own"
)
_IN_HEADINGS: Final = frozenset(_HEADING_WORDS.split()) | _SENTENCE | _BEHIND | _EARLIER | _ENDING
# Of a label with more words, only the last one counts.
_SHORT_LABEL: Final = 2
_SPLIT = re.compile(r"[^a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=4096)
def rank_of(label: str) -> Rank | None:
    """What ``label`` says of its text, by its last word that says anything; None if no word does."""
    if not label.isascii() or len(label) > 60:
        return None
    words = [word for word in _SPLIT.split(_CAMEL.sub(" ", label).lower()) if word]
    if len(words) == 1 and words[0] in _ALONE:
        return _ALONE[words[0]]
    sentence = len(words) > 1 and not _SENTENCE.isdisjoint(words)
    first = len(words) - 1 if len(words) > _SHORT_LABEL else 0
    for place in range(len(words) - 1, first - 1, -1):
        rank = _rank_of_word(words[place])
        if rank is Rank.OWN:
            return _rank_of_own(words, place)
        if rank is Rank.PLAIN and any(_rank_of_word(word) is Rank.OWN for word in words[:place]):
            return _rank_of_own(words, place)  # "User message"
        if rank is not None:
            return None if sentence or words[-1] in _UNFINISHED else rank
    return None


def is_heading(text: str) -> bool:
    """Whether each word of ``text`` may occur in a label. Without marks, any other heading is an ordinary line."""
    words = [word for word in _SPLIT.split(text.lower()) if word]
    return all(word in _IN_HEADINGS or _rank_of_word(word) is not None for word in words)


def _rank_of_own(words: list[str], place: int) -> Rank:
    """What a label says that has one of the user's words at ``place``; the words around it may change that."""
    if not _ENDING.isdisjoint(words):
        return Rank.PLAIN
    if not _EARLIER.isdisjoint(words):
        return Rank.PASSAGE
    if not _MACHINES.isdisjoint(words):
        return Rank.MODEL
    known = _SENTENCE | _BEHIND
    if any(_rank_of_word(word) is None and word not in known for word in words[place + 1 :]):
        return Rank.PLAIN  # "User location", "Asked by"
    several = words[place] not in _RANKS and place > 0 and _rank_of_word(words[place - 1]) is None
    return Rank.PLAIN if several and words[place - 1] not in known else Rank.OWN  # "Follow-up questions"


def _rank_of_word(word: str) -> Rank | None:
    return _RANKS.get(word, _RANKS.get(word.removesuffix("s")))


#: The words of labels inside of a line, which are written with a capital there.
INLINE: Final = tuple(
    sorted(
        {
            form
            for rank in (Rank.OWN, Rank.PLAIN, Rank.MODEL, Rank.PASSAGE)
            for word in _WORDS[rank].split()
            for form in (word.capitalize(), word.upper())
        }
    )
)
