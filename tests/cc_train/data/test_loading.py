"""What the user is told of columns that are not used."""

from __future__ import annotations

from pathlib import Path

from cc_train.data.loading import load_examples
from tests.support.tiny_rows import encoder
from tests.support.tiny_tokenizer import write_rows

PAIR = {"lang": "de", "instruction": "Wort?", "instruction_en": "Word?", "output": "beta"}


def said(path: Path, *, answers: bool) -> list[str]:
    notes: list[str] = []
    load_examples([str(path)], encoder(), answers=answers, say=notes.append, shows_progress=False)
    return [note for note in notes if note.startswith("column")]


def test_a_sentences_column_is_named_by_its_language(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "sentences.jsonl", [{"en": "One", "de": "Eins", "zh_Hans": "1", "url": "u"}])
    assert said(path, answers=False) == [
        "column 'zh_Hans' is not used (1 row has it); 'zh_Hans' is no ISO 639-1 code; did you mean 'zh'?",
        "column 'url' is not used (1 row has it); --columns FIELD=COLUMN gives it a meaning",
    ]


def test_a_rows_column_can_be_given_a_meaning(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{**PAIR, "english": "Word?"}])
    assert said(path, answers=True) == [
        "column 'english' is not used (1 row has it); --columns FIELD=COLUMN gives it a meaning"
    ]
