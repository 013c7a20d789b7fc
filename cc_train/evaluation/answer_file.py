"""Answers on disk, appended as they come: an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cc_train.evaluation.items import EvaluationError, EvaluationRow

ANSWERS_FILE = "answers.jsonl"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system answered to one row.

    Args:
        key: the row's.
        prompt: digest of the prompt that was answered.
        text: the answer as generated; may be empty.
        finish_reason: ``stop``, or ``length`` where it was cut.
        prompt_tokens: tokens of the rendered prompt.
        tokens: tokens generated.
        connection: ``off``, ``global`` or a language; None if the endpoint does not say.
    """

    key: str
    prompt: str
    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    connection: str | None


class AnswerFile:
    """One system's answers, in a directory of their own; a context manager, which one process at a time can enter.

    Args:
        directory: made if it is not there.
        system: what the answers depend on, JSON values by name; written into the file's first line. None takes what an
            existing file says.

    Raises:
        EvaluationError: the file is of another system, is held by another process, or cannot be read or written.
    """

    def __init__(self, directory: Path, system: dict[str, Any] | None) -> None:
        self.path = directory / ANSWERS_FILE
        if system is None and not self.path.exists():
            raise EvaluationError(f"{self.path}: no answers yet; pass --endpoint or --checkpoint to have rows answered")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise EvaluationError(f"{self.path}: cannot be written ({error.strerror})") from error
        try:
            self._lock()
            self.system, self.answers = self._load(system)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, answer: Answer) -> None:
        """Append an answer; when this returns, only a crash of the machine can lose it."""
        self._write(asdict(answer))
        self.answers[answer.key] = answer

    def missing(self, rows: Iterable[EvaluationRow]) -> list[EvaluationRow]:
        """The rows without an answer.

        Raises:
            EvaluationError: a row's prompt is not the one that was answered.
        """
        without: list[EvaluationRow] = []
        for row in rows:
            answer = self.answers.get(row.key)
            if answer is None:
                without.append(row)
            elif answer.prompt != row.digest:
                raise EvaluationError(
                    f"{self.path}: the prompt of {row.key!r} is not the one that was answered; "
                    "evaluate changed data in another --output"
                )
        return without

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EvaluationError(f"{self.path}: another evaluation is writing it") from error

    def _load(self, system: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Answer]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # a killed process left an unfinished line
            self._file.truncate(len(whole))
        lines = whole.splitlines()
        if not lines and system is not None:
            self._write({"system": system})
            return system, {}
        answers: dict[str, Answer] = {}
        try:
            written = json.loads(lines[0])["system"]
            for line in lines[1:]:
                answer = Answer(**json.loads(line))
                answers[answer.key] = answer
        except (ValueError, LookupError, TypeError) as error:
            raise EvaluationError(f"{self.path}: line {len(answers) + 2} is not an answer ({error})") from error
        if system is not None:
            _check_same(self.path, written, system)
        return written, answers

    def _write(self, content: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
            self._file.flush()
        except OSError as error:
            raise EvaluationError(
                f"{self.path}: cannot be written ({error.strerror}); what is there is kept"
            ) from error


def _check_same(path: Path, written: dict[str, Any], system: dict[str, Any]) -> None:
    differing = [name for name in {**written, **system} if written.get(name) != system.get(name)]
    if differing:
        changes = "; ".join(f"{name}: {written.get(name)!r} there, {system.get(name)!r} now" for name in differing)
        raise EvaluationError(
            f"{path} holds answers of another system ({changes}); choose another --output, or the same settings"
        )
