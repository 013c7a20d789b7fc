"""The report and the model card say what a run left, whole or not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from cc_train.commands.main import main
from cc_train.config.run import parse_run
from cc_train.report.facts import named_sources, run_facts, write_run_facts
from cc_train.report.model_card import write_card
from cc_train.report.page import write_record, write_report

LAYERS = 3
HISTORY = [
    {
        "step": step,
        "loss": 3.0 / step,
        "learning_rate": 1e-5 / step,
        "layers_by_language": {"de": [step, 1, 0], "sw": [0, 0, 4]} if step > 1 else {"de": [1, 0, 0]},
    }
    for step in (1, 2, 3)
]


def score(matrix: str | None, loss: float | None = 1.5) -> dict[str, Any]:
    measured = {
        "r2": 0.9,
        "cosine": 0.8,
        "agreement": 0.75,
        "r2_by_layer": [0.9, None, -2.0],
        "cosine_by_layer": [0.9] * LAYERS,
        "agreement_by_layer": [1.0, None, 0.5],
        "chosen_by_layer": [2, 0, 2],
    }
    given = ("plain", "identity", "global", "transform", "english")
    return {
        "pairs": 4,
        "matrix": matrix,
        "transform": measured,
        "global": measured,
        "identity": measured,
        "gain": None if loss is None else {"pairs": 4, "gain": -0.3, "low": -0.45, "high": -0.1},
        "answer_loss": {} if loss is None else {name: loss + i / 10 for i, name in enumerate(given)},
    }


def fit(loss: float | None = 1.5) -> dict[str, Any]:
    return {
        "fitted_pairs": {"de": 40, "sw": 30},
        "held_out_pairs": {"de": 4, "sw": 4},
        "ridge": 1e-3,
        "shrinkage": 31.6,
        "scores": {"all": score(None, loss), "de": score("de", loss), "sw": score("global", loss)},
    }


@pytest.fixture
def facts(tmp_path: Path) -> dict[str, Any]:
    model = tmp_path / "base"
    model.mkdir()
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    arguments = ["--model", str(model), "--data", f"{tmp_path}/a.jsonl=0.5", f"{tmp_path}/<b>.jsonl", "--output", "o"]
    config = parse_run([*arguments, "--seed", "7", "--gumbel-temperature", "0.5", "--use-cpu"])
    return run_facts(config, Path(config.model.model), {"de": 44, "sw": 34}, 2, 2.34567)


def made(directory: Path, facts: dict[str, Any] | None, fitted: dict[str, Any] | None) -> Path:
    directory.mkdir()
    (directory / "trainer_state.json").write_text(json.dumps({"log_history": HISTORY}))
    (directory / "config.json").write_text("{}")
    if facts:
        write_run_facts(directory, facts)
    if fitted:
        (directory / "cc_fit.json").write_text(json.dumps(fitted))
    return directory


def test_the_facts_name_what_was_chosen_and_no_path(facts: dict[str, Any], tmp_path: Path) -> None:
    assert facts["base_model"] == "base"
    assert facts["data"] == ["a.jsonl × 0.5", "<b>.jsonl"]
    assert facts["licence"] == "apache-2.0"
    options = facts["options"]
    assert (options["seed"], options["gumbel_temperature"], options["method"]) == (7, 0.5, "cc")
    assert "max_length" not in options, "it is at its default"
    assert str(tmp_path) not in json.dumps(facts)


def test_the_facts_hold_no_secret_and_nothing_that_nobody_chose() -> None:
    given = ["--push-to-hub", "true", "--hub-model-id", "someone/mine", "--hub-token", "hf_secret", "--use-cpu"]
    config = parse_run(["--model", "m", "--data", "d", "--output", "o", *given])
    options = run_facts(config, Path("m"), {"de": 1}, 0, 1.0)["options"]
    assert set(options) == {"method", "tuning", "learning_rate", "num_train_epochs", "seed", "data_seed"}


def test_a_dataset_of_the_hub_keeps_its_organisation(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    given = ["someone/pairs:en-sw#train", "someone/pairs=0.5", f"{tmp_path}/saved#test", "data/none.jsonl"]
    assert named_sources(given) == ["someone/pairs:en-sw#train", "someone/pairs × 0.5", "saved#test", "none.jsonl"]


def test_a_directory_under_the_working_one_is_none_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "someone" / "pairs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert named_sources(["someone/pairs", "someone/pairs#test"]) == ["pairs", "pairs#test"]


def test_the_report_needs_no_other_file(facts: dict[str, Any], tmp_path: Path) -> None:
    directory = made(tmp_path / "out", facts, fit())
    page = write_report(directory, "mine").read_text("utf-8")
    assert "<td>-0.300 (-0.450 to -0.100)</td>" in page
    pictures = {path.stem for path in (directory / "report").iterdir()}
    assert pictures == {"loss", "learning_rate", "layers", "fit", "answer_loss"}
    assert page.count('src="data:image/png;base64,') == len(pictures)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<h1>mine</h1>" in page
    assert "&lt;b&gt;.jsonl" in page
    assert "0.750" in page
    for picture in pictures:
        with Image.open(directory / "report" / f"{picture}.png") as image:
            assert min(image.size) > 100


def test_report_and_card_say_that_it_was_aligned_and_by_whose_idea(facts: dict[str, Any], tmp_path: Path) -> None:
    facts["alignment"] = {"weight": 4.0, "value": 0.04634, "rows": {"de": 7}, "data": ["ntrex.jsonl"]}
    directory = made(tmp_path / "out", facts, fit())
    history = [entry | {"alignment": 1.0 / entry["step"]} for entry in HISTORY]
    (directory / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    page = write_report(directory).read_text("utf-8")
    assert "weight 4.0; 0.046 at the end, of 1 for the English prompts' mean;\n7 more prompts from ntrex.jsonl" in page
    assert "Alignment (ours, not the paper&#39;s)" in page
    assert (directory / "report" / "alignment.png").exists()
    card = write_card(directory).read_text("utf-8")
    assert "It is cc-train's; the paper does not have it.\nAt the end it stood at 0.046; 1 is" in card
    assert "7 more parallel prompts joined it: ntrex.jsonl.\nOptions" in card
    del facts["alignment"]["data"]
    assert "more parallel prompts" not in write_card(made(tmp_path / "less", facts, None)).read_text("utf-8")


def test_less_gives_a_shorter_report(tmp_path: Path) -> None:
    plain = made(tmp_path / "sft", None, None)
    assert "Transform" not in write_report(plain).read_text()
    assert {path.stem for path in (plain / "report").iterdir()} == {"loss", "learning_rate", "layers"}
    refitted = made(tmp_path / "refit", None, fit(None) | {"shrinkage": None})
    (refitted / "trainer_state.json").unlink()
    assert "no language has a matrix of its own" in write_report(refitted).read_text()
    assert {path.stem for path in (refitted / "report").iterdir()} == {"fit"}


def test_the_card_has_metadata_figures_and_the_bases_licence(facts: dict[str, Any], tmp_path: Path) -> None:
    directory = made(tmp_path / "out", facts, fit())
    (directory / "GEMMA_TERMS.html").write_text("terms")
    card = ModelCard.load(write_card(directory))
    assert card.data.to_dict() == {
        "language": ["de", "sw"],
        "library_name": "transformers",
        "license": "apache-2.0",
        "tags": ["cc-tuning"],
    }
    for line in (
        "| de | de | 0.750 | 1.500 | 1.800 | 1.900 | -0.300 (-0.450 to -0.100) |",
        "| gumbel_temperature | 0.5 |",
        "cc-serve serve DIR",
    ):
        assert f"{line}\n" in card.text
    assert "[GEMMA_TERMS.html](GEMMA_TERMS.html)" in card.text
    assert "\n\n\n" not in card.text


@pytest.mark.parametrize(
    ("base", "named"), [("base", None), ("google/gemma-3-4b-it", "google/gemma-3-4b-it"), ("a/b@v2", "a/b")]
)
def test_the_cards_base_is_an_id_of_the_hub_or_none(
    base: str, named: str | None, facts: dict[str, Any], tmp_path: Path
) -> None:
    card = ModelCard.load(write_card(made(tmp_path / "out", facts | {"base_model": base}, fit())))
    assert card.data.to_dict().get("base_model") == named
    assert base in card.text, "a reader is told all"


def test_the_card_of_a_base_without_a_licence_says_so(facts: dict[str, Any], tmp_path: Path) -> None:
    directory = made(tmp_path / "out", facts | {"licence": None}, None)
    card = ModelCard.load(write_card(directory))
    assert "license" not in card.data.to_dict()
    assert "came without a licence" in card.text
    assert "a baseline of CC-Tuning" in card.text
    (directory / "LICENSE").write_text("terms")
    found = ModelCard.load(write_card(directory)).data.to_dict()
    assert (found["license"], found["license_link"]) == ("other", "LICENSE")


def test_the_card_of_a_connection_alone_says_how_it_is_attached(facts: dict[str, Any], tmp_path: Path) -> None:
    directory = made(tmp_path / "out", facts, fit())
    (directory / "config.json").unlink()
    assert "cc-train attach --model BASE" in write_card(directory).read_text()


def test_the_command_writes_both_and_keeps_a_card(
    facts: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    directory = made(tmp_path / "out", facts, fit())
    assert main(["report", str(directory)]) == 0
    assert capsys.readouterr().out.split() == [str(directory / "report.html"), str(directory / "README.md")]
    (directory / "README.md").write_text("mine")
    assert main(["report", str(directory)]) == 0
    assert (directory / "README.md").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2
    assert "holds neither trainer_state.json nor cc_fit.json" in capsys.readouterr().err
    (directory / "cc_fit.json").write_text("[")
    assert main(["report", str(directory)]) == 2
    assert "cc_fit.json: cannot be read" in capsys.readouterr().err


def test_a_report_that_fails_is_said_and_raises_nothing(facts: dict[str, Any], tmp_path: Path) -> None:
    directory = made(tmp_path / "out", None, {"scores": {"all": {}}})
    said: list[str] = []
    write_record(directory, facts, "out", said.append)
    assert len(said) == 1
    assert "cc-train report writes it again" in said[0]
    assert (directory / "cc_run.json").exists()
