"""Answers on disk: kept, resumed, and refused where they are another system's."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_train.evaluation.answer_file import ANSWERS_FILE, Answer, AnswerFile
from cc_train.evaluation.items import EvaluationError, EvaluationRow

SYSTEM = {"model": "tiny", "connection": "auto"}
ROWS = [EvaluationRow(f"mkqa/de/{n}", "mkqa", "de", f"Wer {n}?", f"Who {n}?", ("Ray",)) for n in range(3)]


def answer(row: EvaluationRow, text: str = "Ray") -> Answer:
    return Answer(row.key, row.digest, text, "stop", 5, 2, "global")


def test_a_second_run_misses_only_what_is_missing(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "new", SYSTEM) as answers:
        assert answers.missing(ROWS) == ROWS
        answers.add(answer(ROWS[1], "ja\u2028 \ud800 \n"))
    with AnswerFile(tmp_path / "new", SYSTEM) as answers:
        assert answers.missing(ROWS) == [ROWS[0], ROWS[2]]
        assert answers.answers[ROWS[1].key] == answer(ROWS[1], "ja\u2028 \ud800 \n")


def test_an_answer_is_on_disk_at_once(tmp_path: Path) -> None:
    with AnswerFile(tmp_path, SYSTEM) as answers:
        answers.add(answer(ROWS[0]))
        assert ROWS[0].key in answers.path.read_text()


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    with AnswerFile(tmp_path, SYSTEM) as answers:
        answers.add(answer(ROWS[0]))
        answers.add(answer(ROWS[1]))
    path = tmp_path / ANSWERS_FILE
    path.write_bytes(path.read_bytes()[:-20])
    with AnswerFile(tmp_path, SYSTEM) as answers:
        assert answers.missing(ROWS) == ROWS[1:]
        answers.add(answer(ROWS[1]))
    with AnswerFile(tmp_path, SYSTEM) as answers:
        assert answers.missing(ROWS) == ROWS[2:]


def test_another_system_is_refused(tmp_path: Path) -> None:
    AnswerFile(tmp_path, SYSTEM).__exit__(None, None, None)
    with pytest.raises(EvaluationError) as error:
        AnswerFile(tmp_path, {**SYSTEM, "connection": "off", "dtype": "float32"})
    assert "connection: 'auto' there, 'off' now; dtype: None there, 'float32' now" in str(error.value)
    assert "choose another --output" in str(error.value)
    AnswerFile(tmp_path, SYSTEM).__exit__(None, None, None)


def test_another_prompt_is_refused(tmp_path: Path) -> None:
    with AnswerFile(tmp_path, SYSTEM) as answers:
        answers.add(answer(ROWS[0]))
        changed = EvaluationRow(ROWS[0].key, "mkqa", "de", "Wo?", "Where?", ("Ray",))
        with pytest.raises(EvaluationError, match="the prompt of 'mkqa/de/0' is not the one that was answered"):
            answers.missing([changed])


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with AnswerFile(tmp_path, SYSTEM), pytest.raises(EvaluationError, match="another evaluation is writing it"):
        AnswerFile(tmp_path, SYSTEM)


@pytest.mark.parametrize("line", ["nonsense", '{"key": "a"}', "[]"])
def test_a_damaged_file_is_named(tmp_path: Path, line: str) -> None:
    AnswerFile(tmp_path, SYSTEM).__exit__(None, None, None)
    path = tmp_path / ANSWERS_FILE
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EvaluationError, match=r"answers\.jsonl: line 2 is not an answer"):
        AnswerFile(tmp_path, SYSTEM)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot be written"):
        AnswerFile(tmp_path / "file" / "answers", SYSTEM)
