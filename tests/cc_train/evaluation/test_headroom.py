"""``cc-train headroom`` in a world where English knows more of some entities, and as much of others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from cc_train.bootstrap import Interval
from cc_train.commands.main import main
from cc_train.evaluation.headroom import Headroom
from tests.support.world import ENGLISH, X, facts, row, save_base, write_rows

ASKED = 40


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("world") / "base")


def rows(split: str, languages: tuple[str, ...] = (X, ENGLISH)) -> list[dict[str, Any]]:
    some = enumerate(facts(split)[:ASKED])
    return [{**row(language, fact), "id": str(number)} for number, fact in some for language in languages]


def headroom(base: Path, data: Path, *options: str) -> int:
    command = ["headroom", "--model", str(base), "--data", str(data), "--task-of-rows", "xquad", "--max-tokens", "3"]
    return main([*command, *options])


@pytest.mark.parametrize(
    ("split", "sentence", "ahead"),
    [("unseen", "English is ahead", True), ("known", "no headroom was shown", False)],
)
def test_it_tells_what_english_knows_and_x_does_not(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture, split: str, sentence: str, ahead: bool
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", rows(split))
    assert headroom(base, data, "--json", str(tmp_path / "figures.json")) == 0
    told = capsys.readouterr().out
    assert f"{X}: {sentence}" in told
    (found,) = json.loads((tmp_path / "figures.json").read_text()).values()
    assert found["rows"] == ASKED
    assert found["english"] > 0.9
    assert (found["score"] < 0.5) == ahead
    assert (found["english_lead"]["low"] > 0) == ahead
    assert found["english_lead"]["mean"] == pytest.approx(found["english"] - found["score"])
    assert found["loss_gain"]["mean"] == pytest.approx(found["loss"] - found["loss_beside"], abs=1e-6)
    assert found["loss_english_gain"]["mean"] == pytest.approx(found["loss"] - found["loss_english"], abs=1e-6)
    assert (found["loss_english_gain"]["low"] > 0) == ahead
    assert told.count("in English ") == 2
    assert len(found["distance"]) == 4
    assert found["distance_mean"]["mean"] == pytest.approx(sum(found["distance"]) / 4)
    assert found["distance_mean"]["low"] < found["distance_mean"]["mean"] < found["distance_mean"]["high"]
    assert all(distance > 0 for distance in found["distance"])


def test_a_language_in_the_words_of_english_is_at_no_distance(base: Path, tmp_path: Path) -> None:
    """Rows that are called ``de`` and written in English: prompts, activations, scores and losses are the same."""
    english = [{**each, "instruction": each["instruction_en"]} for each in rows("unseen", (X,))]
    data = write_rows(tmp_path / "rows.jsonl", english + rows("unseen", (ENGLISH,)))
    assert headroom(base, data, "--json", str(tmp_path / "figures.json")) == 0
    found = json.loads((tmp_path / "figures.json").read_text())[X]
    assert found["distance"] == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_one_english_prompt_is_no_measure_of_distance(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", rows("unseen")[:2])
    assert headroom(base, data, "--json", str(tmp_path / "figures.json")) == 0
    found = json.loads((tmp_path / "figures.json").read_text())[X]
    assert found["distance"] is None
    assert found["distance_mean"] is None
    told = capsys.readouterr().out
    assert "by layer" not in told
    assert "the distance of activations is not known: it takes two English prompts or more" in told


def test_items_are_chosen_with_their_english(base: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", rows("unseen"))
    assert headroom(base, data, "--limit", "12", "--json", str(tmp_path / "figures.json")) == 0
    found = json.loads((tmp_path / "figures.json").read_text())[X]
    assert found["rows"] == 12
    assert found["english_lead"]["low"] is not None, "each of the twelve has its English question"


def test_rows_without_their_english_take_no_place(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    some = rows("unseen")
    for each in some[:ASKED:2]:  # of every second pair the row in X
        del each["instruction_en"]
    assert headroom(base, write_rows(tmp_path / "rows.jsonl", some), "--limit", "12") == 0
    told = capsys.readouterr()
    assert "left out: 20 rows without 'instruction_en'" in told.err
    assert " 12 " in told.out


@pytest.mark.parametrize(
    ("languages", "drop", "words"),
    [
        ((ENGLISH,), (), "are in 'en': headroom compares languages with English"),
        ((X,), (), "are in 'de': headroom compares languages with English; add rows in English"),
        ((X, ENGLISH), ("instruction_en",), "no row in another language than English has 'instruction_en'"),
    ],
)
def test_rows_that_compare_nothing_are_refused_in_a_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture, languages: tuple[str, ...], drop: Any, words: str
) -> None:
    some = [{k: v for k, v in each.items() if k not in drop} for each in rows("unseen", languages)]
    assert headroom(base, write_rows(tmp_path / "rows.jsonl", some)) == 2
    error = capsys.readouterr().err
    assert error.startswith("cc-train headroom: ")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--chat-template-kwargs", "nothing"), "--chat-template-kwargs: must be a JSON object"),
        (("--chat-template-kwargs", '{"a": 1}'), "--chat-template-kwargs: the chat template reads no option 'a'"),
        (("--languages", "xx"), "no row of language xx"),
        (("--model", "nowhere"), "--model nowhere: no config.json there"),
        (("--data", "nowhere.jsonl"), "nowhere.jsonl: cannot be read"),
        (("--max-tokens", "62"), "no prompt fits the model's context"),
        (("--json", "nowhere/figures.json"), "--json nowhere/figures.json: there is no directory nowhere"),
        (("--json", "."), "--json .: is a directory"),
    ],
)
def test_wrong_options_are_refused_in_a_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], words: str
) -> None:
    assert headroom(base, write_rows(tmp_path / "rows.jsonl", rows("unseen")[:24]), *options) == 2
    assert words in capsys.readouterr().err


def test_a_language_whose_rows_do_not_fit_is_named(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = rows("unseen")[:24]
    long = [{**row, "lang": "fr", "instruction": row["instruction"] * 200} for row in given if row["lang"] == X]
    assert headroom(base, write_rows(tmp_path / "rows.jsonl", [*given, *long])) == 0
    told = capsys.readouterr()
    assert "left out: 12 rows too long for the model's context (fr 12)" in told.err
    assert f"{X}: " in told.out


def test_a_damaged_model_is_named_by_its_option(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    damaged = shutil.copytree(base, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"none")
    assert headroom(damaged, write_rows(tmp_path / "rows.jsonl", rows("unseen")[:24])) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"cc-train headroom: --model {damaged}: cannot be loaded")
    assert error.count("\n") == 1


def test_a_few_rows_that_are_all_right_do_not_tell(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert headroom(base, write_rows(tmp_path / "rows.jsonl", rows("known")[:24])) == 0
    told = capsys.readouterr().out
    assert "+0.000 (+0.000 to +0.000)" in told
    assert f"{X}: 12 rows do not tell" in told


def test_a_damaged_head_is_named(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Activations are as they were; every logit is NaN."""
    damaged = shutil.copytree(base, tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, damaged / "model.safetensors", {"format": "pt"})
    assert headroom(damaged, write_rows(tmp_path / "rows.jsonl", rows("unseen")[:24])) == 2
    assert "the loss of 12 of 12 answers is NaN or infinite (xquad/de/" in capsys.readouterr().err


def test_the_table_is_printed_though_the_file_cannot_be_written(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", rows("unseen")[:24])
    assert headroom(base, data, "--json", "/dev/full") == 2
    told = capsys.readouterr()
    assert "score, in English" in told.out
    assert told.err.endswith("cc-train headroom: --json /dev/full: cannot be written (No space left on device)\n")


UP, EQUAL, WIDE = Interval(0.2, 0.1, 0.3), Interval(0.0, -0.1, 0.03), Interval(0.0, -0.1, 0.1)
WIDEST, FEW, NAN = Interval(0.3, -0.05, 0.62), Interval(0.2, None, None), Interval(float("nan"), *2 * [float("nan")])


@pytest.mark.parametrize(
    ("loss", "score", "lead", "words"),
    [
        (UP, EQUAL, UP, "there is something to gain"),
        (WIDE, UP, UP, "there is something to gain"),
        (EQUAL, UP, None, "there may be something to gain"),
        (WIDE, UP, EQUAL, "there may be something to gain"),
        (EQUAL, EQUAL, UP, "gains depend on training"),
        (EQUAL, EQUAL, EQUAL, "no headroom was shown"),
        (Interval(-0.5, -0.9, -0.2), EQUAL, EQUAL, "no headroom was shown"),
        (EQUAL, EQUAL, None, "5 rows do not tell"),
        (WIDE, EQUAL, EQUAL, "5 rows do not tell"),
        (EQUAL, WIDE, EQUAL, "5 rows do not tell"),
        (EQUAL, EQUAL, WIDE, "5 rows do not tell"),
        (EQUAL, EQUAL, FEW, "5 rows do not tell"),
        (WIDEST, WIDEST, WIDEST, "5 rows do not tell"),
        (FEW, FEW, FEW, "5 rows are too few to tell"),
        (NAN, NAN, NAN, "is not a number"),
        (NAN, EQUAL, EQUAL, "is not a number"),
        (EQUAL, EQUAL, Interval(0.1, float("nan"), 0.0), "is not a number"),
    ],
)
def test_what_to_expect(loss: Interval, score: Interval, lead: Interval | None, words: str) -> None:
    given = Headroom(5, 1.0, 1.0, loss, 0.5, 0.5, score, None, lead, [])
    assert words in given.expectation
    assert "\n" not in given.expectation


@pytest.mark.parametrize(
    ("score", "lead", "words"),
    [
        (EQUAL, EQUAL, "no headroom was shown"),
        (EQUAL, UP, "gains depend on training"),
        (UP, UP, "there is something to gain"),
        (WIDE, EQUAL, "5 rows do not tell"),
    ],
)
@pytest.mark.parametrize("loss", [UP, WIDE])
def test_what_to_expect_of_a_multiple_choice_does_not_depend_on_the_loss(
    loss: Interval, score: Interval, lead: Interval, words: str
) -> None:
    given = Headroom(5, 1.0, 1.0, loss, 0.5, 0.5, score, None, lead, [], choices=True)
    assert words in given.expectation
