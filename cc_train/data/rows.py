"""One parallel row, and how a record is checked and becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cc_core.names import ENGLISH
from cc_train.data.chat import Conversation
from cc_train.data.language_codes import code_problem
from cc_train.data.sources import Record, UnreadableError

FIELDS = ("lang", "instruction", "instruction_en", "output", "messages", "messages_en", "id", "task")
_ROLES = ("system", "user", "assistant")
_SHOWN = 80  # characters of a wrong value, in a message


class UnusableError(ValueError):
    """Why one row cannot be used."""


class MissingFieldError(UnusableError):
    """A field is missing."""

    def __init__(self, field: str, column: str) -> None:
        super().__init__(f"field {field!r} is missing" + (f" (column {column!r})" if column != field else ""))


@dataclass(frozen=True, slots=True)
class Row:
    """One parallel row, and where it came from.

    Args:
        lang: ISO 639-1.
        instruction, instruction_en: the last user's turn; ``instruction_en`` is empty where no English is needed.
        output: the answer; empty where none is needed.
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
    record: Record, columns: Mapping[str, str], file: str, *, answers: bool = True, parallels: bool = True
) -> list[Row]:
    """The rows of a record: one, or one for each language of a sentence in several.

    Args:
        record: from `cc_train.data.sources.read_records`.
        columns: the column that holds a field, for fields under another name.
        file: where it came from.
        answers: whether a row needs an answer.
        parallels: whether a row needs its English parallel; if not, it is not read.

    Raises:
        UnusableError: the record is no row.
    """
    if isinstance(record.fields, UnreadableError):
        raise UnusableError(str(record.fields))
    fields = _Fields(record.fields, columns)
    if fields.is_sentence():
        if answers:
            raise UnusableError("a sentence in several languages has no answer to train on; cc-train fit can use it")
        return [Row(lang, text, english, "", file, record.number) for lang, text, english in fields.sentences()]
    lang = fields.text("lang")
    problem = code_problem(lang)
    if problem:
        raise UnusableError(f"field 'lang': {problem}")
    answer = ""
    own: Conversation = ()
    english: Conversation = ()
    given = "messages" if fields.has("messages") else "instruction"
    # Without `instruction_en`, an English row is its own parallel.
    parallel = given if lang == ENGLISH and not fields.get(f"{given}_en") else f"{given}_en"
    if given == "messages":
        own, answer = fields.conversation(given)
        english = fields.conversation(parallel)[0] if parallels else ()
        texts = (own[-1][1], english[-1][1] if english else "")
    else:
        texts = (fields.text(given), fields.text(parallel) if parallels else "")
    if not answer and (answers or fields.has("output")):
        answer = fields.text("output")
    optional = {name: str(fields.get(name)) for name in ("id", "task") if fields.has(name)}
    return [Row(lang, *texts, answer, file, record.number, **optional, messages=own, messages_en=english)]


class _Fields:
    """The fields of a record under the names of a row."""

    def __init__(self, record: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        self._record = record
        self._columns = columns

    def get(self, field: str) -> Any:
        return self._record.get(self._columns.get(field, field))

    def has(self, field: str) -> bool:
        return self.get(field) is not None

    def text(self, field: str) -> str:
        column = self._columns.get(field, field)
        if column not in self._record:
            raise MissingFieldError(field, column)
        return _checked(self._record[column], f"field {field!r}")

    def conversation(self, field: str) -> tuple[Conversation, str]:
        """The turns up to the last user's; and the assistant's text after it, or an empty one."""
        if not self.has(field):
            raise MissingFieldError(field, self._columns.get(field, field))
        turns = self.get(field)
        if not isinstance(turns, list | tuple) or not turns or not all(isinstance(t, Mapping) for t in turns):
            raise UnusableError(f"field {field!r} is not a list of messages (found {_shown(turns)})")
        checked = []
        for i, turn in enumerate(turns):
            role = turn.get("role")
            if role not in _ROLES:
                raise UnusableError(f"field '{field}[{i}].role' is none of {', '.join(_ROLES)} (found {_shown(role)})")
            checked.append((str(role), _checked(turn.get("content"), f"field '{field}[{i}].content'")))
        answer = checked.pop()[1] if checked[-1][0] == "assistant" else ""
        if not checked or checked[-1][0] != "user":
            raise UnusableError(f"field {field!r} does not end with a user's turn, or that and an assistant's")
        return tuple(checked), answer

    def is_sentence(self) -> bool:
        """Whether this is one sentence in many languages, a field each."""
        return self.has(ENGLISH) and not any(self.has(field) for field in ("lang", "instruction", "messages"))

    def sentences(self) -> list[tuple[str, str, str]]:
        """Language, sentence, and the English sentence."""
        english = _checked(self.get(ENGLISH), f"field {ENGLISH!r}")
        languages = [name for name in self._record if name != ENGLISH and not code_problem(name)]
        if not _is_sentence(self._record.get("id")):
            languages = [name for name in languages if name != "id"]
        found = [(lang, self._record[lang], english) for lang in languages]
        return [(lang, _checked(text, f"field {lang!r}"), english) for lang, text, english in found if text]


def _is_sentence(value: Any) -> bool:
    """Whether the field ``id`` holds Indonesian, rather than the record's identifier."""
    return isinstance(value, str) and len(value.split()) > 1


def _checked(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise UnusableError(f"{what} is not a string (found {_shown(value)})")
    if not value.strip():
        raise UnusableError(f"{what} is empty")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise UnusableError(f"{what} holds a lone surrogate, which is no text")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
