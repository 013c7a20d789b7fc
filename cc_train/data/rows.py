"""One parallel row, and how a record is checked and becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cc_core.names import ENGLISH
from cc_train.data.chat import Conversation
from cc_train.data.checks import MissingFieldError, UnusableError
from cc_train.data.fields import Fields
from cc_train.data.language_codes import code_problem
from cc_train.data.records import Record, UnreadableError
from cc_train.data.text_language import sure_language
from cc_train.data.turns import Turns, answered, parallel_turns


@dataclass(frozen=True, slots=True)
class Row:
    """One parallel row, and where it came from.

    Args:
        lang: ISO 639-1.
        instruction, instruction_en: the last user's turn; ``instruction_en`` is empty if no English is needed.
        output: the answer; empty if none is needed.
        file: the path as it was given.
        line: in the file, or the row's number in a table, from 1.
        id, task: as the row has them; empty without.
        messages, messages_en: the whole conversations, where the row has them.
    """

    lang: str
    instruction: str
    instruction_en: str
    output: str
    file: str
    line: int
    id: str = ""
    task: str = ""
    messages: Conversation = ()
    messages_en: Conversation = ()

    @property
    def connected(self) -> bool:
        """Whether the row is trained with the connection."""
        return self.lang != ENGLISH

    @property
    def name(self) -> str:
        """File, line and id, for messages."""
        return f"{self.file}:{self.line}" + (f" ({self.id})" if self.id else "")


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that was not used."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def rows_of(
    record: Record,
    columns: Mapping[str, str],
    file: str,
    *,
    answers: bool = True,
    parallels: bool = True,
    all_turns: bool = False,
) -> list[Row]:
    """The rows of a record: one, or one for each language of a sentence, or for each answer of a conversation.

    Args:
        record: from `cc_train.data.sources.read_records`.
        columns: the column that holds a field, for fields under another name.
        file: where it came from.
        answers: whether a row needs an answer.
        parallels: whether a row needs its English parallel; if not, it is not read.
        all_turns: whether every answer of a conversation gets a row, rather than the last.

    Raises:
        UnusableError: the record is no row.
    """
    if isinstance(record.fields, UnreadableError):
        raise UnusableError(str(record.fields))
    fields = Fields(record.fields, columns)
    if fields.is_sentence():
        if answers:
            raise UnusableError("a sentence in several languages has no answer to train on; cc-train fit can use it")
        return [Row(lang, text, english, "", file, record.number) for lang, text, english in fields.sentences()]
    if not answers and (problem := fields.lacks_english()):
        raise UnusableError(problem)
    lang = fields.text("lang")
    given = "messages" if fields.has("messages") else "instruction"
    if problem := code_problem(lang):
        text = fields.get(given)
        raise UnusableError(
            f"field 'lang': {code_problem(lang, sure_language(text)) if isinstance(text, str) else problem}"
        )
    # Without `instruction_en`, an English row is its own parallel.
    own_parallel = lang == ENGLISH and not fields.has(f"{given}_en")
    parallel = given if own_parallel else f"{given}_en"
    named = {name: str(fields.get(name)) for name in ("id", "task") if fields.has(name)}

    def make(text: str, english: str, answer: str, own: Conversation = (), parallel: Conversation = ()) -> Row:
        return Row(
            *(lang, text, english, answer, file, record.number),
            id=named.get("id", ""),
            task=named.get("task", ""),
            messages=own,
            messages_en=parallel,
        )

    if given == "messages":
        own = fields.conversation(given)
        english = fields.conversation(parallel) if parallels else None
        pairs = list(zip(answered(own), parallel_turns(own, english), strict=True)) if all_turns else [(own, english)]
        return [_conversation_row(make, *pair, fields, answers=answers) for pair in pairs]
    text = fields.prompt(given)
    english_text = "" if not parallels else text if own_parallel else fields.prompt(parallel)
    if parallels and not own_parallel and fields.has("input") and not fields.has("input_en"):
        raise MissingFieldError("input_en", fields.column("input_en"))
    return [make(text, english_text, fields.text("output") if answers or fields.has("output") else "")]


def _conversation_row(
    make: Callable[..., Row], own: Turns, english: Turns | None, fields: Fields, *, answers: bool
) -> Row:
    answer = own.answer
    if not answer and (answers or fields.has("output")):
        answer = fields.text("output")
    prompt_en = english.prompt if english else ()
    last_en = prompt_en[-1][1] if prompt_en else ""
    return make(own.prompt[-1][1], last_en, answer, own.prompt, prompt_en)
