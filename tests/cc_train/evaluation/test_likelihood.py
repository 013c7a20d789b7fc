"""The likeliest option is the one with the highest probability behind the prompt, in batches as alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cc_train.commands.main import main
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.evaluation.likelihood import rank_options
from cc_train.evaluation.local import LocalCheckpoint
from cc_train.evaluation.measures.choices import chosen_label
from cc_train.evaluation.tasks import TASKS
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import WORDS, save_base, write_rows

CHOICES = ("xnli", "xstorycloze", "mmmlu")
ROWS = [
    EvaluationRow(f"{task}/de/{n}", task, "de", prompt, f"In English: {prompt}", (TASKS[task].options[0],))
    for task in CHOICES
    for n, prompt in enumerate([*(f"{word}?" for word in WORDS), "Which of these is the longest by far?"])
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a size at which the prompts differ in their likeliest options."""
    model = tiny_llama()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return save_base(tmp_path_factory.mktemp("base") / "tiny", model)


def ranked(model: LocalCheckpoint, rows: list[EvaluationRow]) -> tuple[dict[str, Answer], dict[str, str]]:
    found: dict[str, Answer] = {}
    refused: dict[str, str] = {}
    rank_options(model, rows, lambda a: found.update({a.key: a}), lambda row, why: refused.update({row.key: why}))
    return found, refused


def test_the_likeliest_option_is_the_one_that_the_logits_prefer(base: Path) -> None:
    model = LocalCheckpoint(base, "off", 8, batch_size=5)
    found, refused = ranked(model, ROWS)
    assert not refused
    for row in ROWS:
        ids = model.encoder.encode(model.encoder.render(row.prompt))
        with torch.no_grad():
            logits = model.model(torch.tensor([ids])).logits[0, -1]
        options = TASKS[row.task].options
        best = max(options, key=lambda option: logits[model.encoder.encode(option)[0]])
        assert found[row.key] == Answer(row.key, row.digest, best, "stop", len(ids), 1, "off")
    assert len({(row.task, found[row.key].text) for row in ROWS}) > len(CHOICES), "some differ"


def test_options_that_begin_with_the_same_token_are_told_apart_by_the_next(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a tokenizer writes a token for a space before a character."""
    model = LocalCheckpoint(base, "off", 8, batch_size=5)
    original = model.encoder.encode
    monkeypatch.setattr(model.encoder, "encode", lambda text: original(f"~{text}" if len(text) == 1 else text))
    found, _ = ranked(model, ROWS)
    for row in ROWS:
        ids = original(model.encoder.render(row.prompt))
        with torch.no_grad():
            logits = model.model(torch.tensor([[*ids, *original("~")]])).logits[0, -1]
        assert found[row.key].text == max(TASKS[row.task].options, key=lambda option: logits[original(option)[0]])
        assert found[row.key].tokens == 2


def test_options_that_the_tokenizer_does_not_know_are_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalCheckpoint(base, "off", 8, batch_size=5)
    original = model.encoder.encode
    monkeypatch.setattr(model.encoder, "encode", lambda text: original("ß" if len(text) == 1 else text))
    with pytest.raises(EvaluationError, match="the tokenizer does not tell the options 1, 2, 3 of xnli apart"):
        ranked(model, ROWS)


def test_a_damaged_model_is_named(base: Path) -> None:
    model = LocalCheckpoint(base, "off", 8, batch_size=5)
    with torch.no_grad():
        next(model.model.parameters()).fill_(float("nan"))
    with pytest.raises(EvaluationError, match=r"is NaN or infinite \(xnli/de/\d first\); is the model damaged\?"):
        ranked(model, ROWS)


def test_a_prompt_beyond_the_context_is_refused_and_others_are_ranked(base: Path) -> None:
    model = LocalCheckpoint(base, "off", 8, batch_size=5)
    longest = EvaluationRow("xnli/de/long", "xnli", "de", "a" * 5000, "b", ("1",))
    found, refused = ranked(model, [ROWS[0], longest, ROWS[1]])
    assert set(found) == {ROWS[0].key, ROWS[1].key}
    assert "are longer than the model's context" in refused["xnli/de/long"]


def test_headroom_scores_the_likeliest_option_and_not_what_the_model_writes(base: Path, tmp_path: Path) -> None:
    """This model writes an option in two of nine answers at most."""
    model = LocalCheckpoint(base, "off", 8, batch_size=5)
    written: list[str] = []
    rows = [row for row in ROWS if row.task == "xstorycloze"]
    model.answer(rows, lambda answer: written.append(answer.text), lambda *_: None)
    assert sum(chosen_label(text, "12") is not None for text in written) <= 2
    found, _ = ranked(model, rows)
    some = [
        {"id": row.key, "lang": lang, "instruction": prompt, "instruction_en": row.english, "output": "1"}
        for row in rows
        for lang, prompt in (("de", row.prompt), ("en", row.english))
    ]
    data, figures = write_rows(tmp_path / "rows.jsonl", some), tmp_path / "figures.json"
    given = ["--model", str(base), "--data", str(data), "--task-of-rows", "xstorycloze", "--json", str(figures)]
    assert main(["headroom", *given]) == 0
    expected = [answer.text == "1" for answer in found.values()]
    assert 2 < sum(expected) < len(expected)
    measured = json.loads(figures.read_text())["de"]
    assert measured["choices"]
    assert measured["score"] == pytest.approx(sum(expected) / len(expected))
