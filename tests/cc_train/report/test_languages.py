"""The report says what each language costs, and whose answers are in another language."""

from __future__ import annotations

import json
from pathlib import Path

from cc_train.data.encoding import encode_rows
from cc_train.report.languages import CHECKED_ANSWERS, language_facts
from cc_train.report.page import write_report
from tests.support.tiny_rows import encoder, row

GERMAN = "Die Hauptstadt von Frankreich ist Paris, und sie liegt an der Seine."
ENGLISH = "Many people think that the weather here is much worse than it really is."


def test_answers_in_another_language_are_counted_and_tokens_compared(tmp_path: Path) -> None:
    some = [row(output=GERMAN), row(output=ENGLISH), row(output="Paris"), row(lang="en", output=ENGLISH)]
    examples, skipped = encode_rows(some, encoder(), 500)
    assert not skipped
    facts = language_facts(examples)
    german = facts["de"]
    assert (german["rows"], german["checked"], german["elsewhere"]) == (3, 3, 1), "a name is in any language"
    assert german["prompts"] == sum(len(example.prompt) for example in examples[:3])
    assert german["per English token"] > 0
    assert facts["en"]["elsewhere"] == 0
    assert "per English token" not in facts["en"]
    run = {"base_model": "b", "data": [], "rows": {}, "skipped_rows": 0, "training_loss": 1, "options": {}}
    (tmp_path / "cc_run.json").write_text(json.dumps({**run, "versions": {}, "languages": facts}))
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": [{"step": 1, "loss": 1.0}]}))
    page = write_report(tmp_path).read_text("utf-8")
    assert "<td>1 of 3</td>" in page
    assert f"<td>{german['per English token']}</td>" in page
    assert "<td>–</td><td>0 of 1</td>" in page


def test_of_many_rows_some_are_looked_at_from_all_over_the_data() -> None:
    many = [row(output=GERMAN)] * CHECKED_ANSWERS + [row(output=ENGLISH)] * CHECKED_ANSWERS
    examples, _ = encode_rows(many, encoder(), 500)
    facts = language_facts(examples)["de"]
    assert (facts["checked"], facts["elsewhere"]) == (CHECKED_ANSWERS, CHECKED_ANSWERS // 2)
