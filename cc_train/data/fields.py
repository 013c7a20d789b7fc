"""The fields of a record, under the names of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cc_core.names import ENGLISH
from cc_train.data.checks import MissingFieldError, UnusableError, checked_text
from cc_train.data.language_codes import code_problem, misspelt
from cc_train.data.turns import Turns, turns_of

_PAIRS = ("instruction", "input", "messages")
FIELDS = ("lang", *(f"{name}{end}" for name in _PAIRS for end in ("", "_en")), "output", "id", "task")


class Fields:
    """The fields of a record.

    Args:
        record: its columns.
        columns: the column that holds a field, for fields under another name.
    """

    def __init__(self, record: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        self._record = record
        self._columns = columns

    def column(self, field: str) -> str:
        return self._columns.get(field, field)

    def get(self, field: str) -> Any:
        return self._record.get(self.column(field))

    def has(self, field: str) -> bool:
        return self.get(field) not in (None, "")  # an empty cell of a table holds nothing

    def text(self, field: str) -> str:
        column = self.column(field)
        if column not in self._record:
            raise MissingFieldError(field, column)
        return checked_text(self._record[column], f"field {field!r}")

    def prompt(self, field: str) -> str:
        """An instruction, with its ``input`` on the next line, as other trainers join them."""
        given = field.replace("instruction", "input")
        return with_input(self.text(field), self.text(given) if self.has(given) else None)

    def conversation(self, field: str) -> Turns:
        """The turns of a conversation."""
        if not self.has(field):
            raise MissingFieldError(field, self.column(field))
        return turns_of(self.get(field), field)

    def unused(self) -> list[str]:
        """The columns that hold something, and that no field is read from."""
        if self.is_sentence():
            return [name for name in self._record if name not in {ENGLISH, "id"} and code_problem(name)]
        read = {self.column(field) for field in FIELDS}
        return [name for name, value in self._record.items() if name not in read and value not in (None, "", [], {})]

    def is_sentence(self) -> bool:
        """Whether this is one sentence in many languages, a field each."""
        return self.has(ENGLISH) and not any(self.has(field) for field in ("lang", "instruction", "messages"))

    def lacks_english(self) -> str | None:
        """What to say of a sentence in several languages without an English one; None for any other record."""
        names = [name for name in self._record if name != "id" and (misspelt(name) or not code_problem(name))]
        if len(names) < 2 or any(self.has(field) for field in (ENGLISH, "lang", "instruction", "messages")):
            return None
        meant = next((said for said in map(misspelt, names) if said and f"mean {ENGLISH!r}" in said), None)
        return f"field {ENGLISH!r} with the English sentence is missing{f': {meant}' if meant else ''}"

    def sentences(self) -> list[tuple[str, str, str]]:
        """Language, sentence, and the English sentence; raises `UnusableError` if there is no other language."""
        english = checked_text(self.get(ENGLISH), f"field {ENGLISH!r}")
        languages = [name for name in self._record if name != ENGLISH and not code_problem(name)]
        if not _is_indonesian(self._record.get("id")):
            languages = [name for name in languages if name != "id"]
        found = [
            (lang, checked_text(self._record[lang], f"field {lang!r}")) for lang in languages if self._record[lang]
        ]
        if not found:
            problem = next(filter(None, map(misspelt, self.unused())), None)
            raise UnusableError(f"no field has the sentence in another language{f': {problem}' if problem else ''}")
        return [(lang, text, english) for lang, text in found]


def _is_indonesian(value: Any) -> bool:
    """Whether the field ``id`` holds a sentence in Indonesian, and not the record's identifier."""
    return isinstance(value, str) and len(value.split()) > 1


def with_input(instruction: str, given: object) -> str:
    """An instruction, with the record's ``input`` on the next line; an ``input`` that is no text is ignored."""
    return f"{instruction}\n{given}" if isinstance(given, str) and given else instruction
