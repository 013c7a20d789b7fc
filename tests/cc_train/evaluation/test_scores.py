"""From answers to figures, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.evaluation.output import figures_markdown
from cc_train.evaluation.scores import (
    ROWS_FILE,
    by_task,
    cells,
    item_values,
    load_scores,
    save_scores,
    scopes,
    score_rows,
)

# Two items in three languages; the second is not there in Swahili.
ROWS = [
    EvaluationRow(f"xnli/{language}/{n}", "xnli", language, f"{language} {n}", f"en {n}", ("1",))
    for n in range(2)
    for language in ("sw", "en", "de")
    if (language, n) != ("sw", 1)
]


def answered(texts: dict[str, str]) -> dict[str, Answer]:
    return {
        row.key: Answer(row.key, row.digest, texts[row.key], "length" if row.lang == "de" else "stop", 1, 1, None)
        for row in ROWS
        if row.key in texts
    }


TEXTS = {"xnli/sw/0": "1", "xnli/en/0": "1", "xnli/de/0": "", "xnli/en/1": "2"}


def test_figures_by_hand() -> None:
    scores = score_rows(ROWS, answered(TEXTS))
    found = cells(scores)
    assert list(found) == ["all", "all but en", "de", "en", "sw"]
    assert {name: cell.rows for name, cell in found.items()} == {"all": 5, "all but en": 3, "de": 2, "en": 2, "sw": 1}
    assert found["sw"].judged.mean == 1
    assert found["en"].judged.mean == 0.5
    assert found["de"].judged.mean == 0
    assert found["all"].judged.mean == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["all but en"].judged.mean == pytest.approx((1 + 0) / 2)
    german = found["de"].measures
    assert (german["empty"], german["cut"], german["refused"], german["readable"]) == (1, 0.5, 0.5, 0)
    assert found["all"].judged.low is None, "too few items"


def test_a_measure_is_averaged_over_the_rows_that_have_it() -> None:
    """No answer in Swahili tells its language; the German one is in English."""
    english = "this is a city in which many people like to live"
    found = cells(score_rows(ROWS, answered(TEXTS | {"xnli/de/0": english, "xnli/en/0": english})))
    assert {name: cell.measures.get("own_lines") for name, cell in found.items()} == {
        "all": 0.5,
        "all but en": 0,
        "de": 0,
        "en": 1,
        "sw": None,
    }
    assert "| sw | 1 | 100.0 | too few | 100.0 | 0.0 | 0.0 | 0.0 | – | – |" in figures_markdown({}, {"xnli": found})


def test_intervals_of_enough_items() -> None:
    rows = [EvaluationRow(f"xnli/de/{n}", "xnli", "de", f"{n}", f"{n}", ("1",)) for n in range(40)]
    answers = {row.key: Answer(row.key, row.digest, "12"[n % 2], "stop", 1, 1, None) for n, row in enumerate(rows)}
    judged = cells(score_rows(rows, answers))["de"].judged
    assert judged.low is not None
    assert judged.high is not None
    assert 0.3 < judged.low < judged.mean == 0.5 < judged.high < 0.7


def test_a_row_without_an_answer_is_wrong() -> None:
    refused = next(score for score in score_rows(ROWS, answered(TEXTS)) if score.key == "xnli/de/1")
    assert refused.value == 0
    assert refused.measures["refused"] == 1


def test_only_english_or_no_english_is_not_split() -> None:
    scores = score_rows(ROWS, {})
    assert list(scopes([s for s in scores if s.lang == "en"])) == ["all", "en"]
    assert list(scopes([s for s in scores if s.lang != "en"])) == ["all", "de", "sw"]


def test_tasks_come_in_their_order() -> None:
    rows = [EvaluationRow(f"{task}/de/1", task, "de", "?", "", ("1",)) for task in ("mgsm", "mkqa", "xnli")]
    assert list(by_task(score_rows(rows, {}))) == ["xnli", "mkqa", "mgsm"]


def test_rows_with_one_english_text_stay_apart() -> None:
    rows = [EvaluationRow(f"xnli/de/{n}", "xnli", "de", f"{n}", "same", ("1",)) for n in range(3)]
    assert item_values(score_rows(rows, {}), [1.0, 2.0, 3.0], ["de"]).ravel().tolist() == [1, 2, 3]


def test_scores_come_back(tmp_path: Path) -> None:
    scores = score_rows(ROWS, answered(TEXTS))
    save_scores(tmp_path, scores)
    assert load_scores(tmp_path) == {score.key: score for score in scores}


@pytest.mark.parametrize(
    ("content", "problem"), [("", "no rows"), ("{}\n", "not a row's measures"), ("x", "not a row's")]
)
def test_damaged_scores_are_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / ROWS_FILE).write_text(content)
    with pytest.raises(EvaluationError, match=problem):
        load_scores(tmp_path)


def test_no_scores(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="run cc-train eval to its end first"):
        load_scores(tmp_path)
