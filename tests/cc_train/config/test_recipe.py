"""A recipe's values become the parser's defaults: converted and checked as flags are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cc_train.config.parser import UsageError
from cc_train.config.run import RunConfig, configure_run, parse_run
from cc_train.training.run import run
from cc_train.workspace import partial_directory
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

REQUIRED = {"model": "m", "data": ["d"], "output": "o"}


def of_recipe(directory: Path, text: str) -> RunConfig:
    recipe = directory / "recipe.yaml"
    data = "" if text.startswith("data:") else "data: d\n"
    recipe.write_text(f"model: m\n{data}output: o\n{text}\n")
    return parse_run(["--config", str(recipe)])


@pytest.mark.parametrize(
    ("options", "flags", "recipe"),
    [
        ({"learning_rate": 1e-4}, ["--learning-rate", "1e-4"], "learning_rate: 1e-4"),
        ({"max_steps": 7}, ["--max-steps=7"], "max-steps: 7"),
        ({"decision_normalize": False}, ["--no-decision-normalize"], "decision_normalize: false"),
        ({"data": "a"}, ["--data", "a"], "data: a"),
        ({"data": [Path("a"), Path("b=0.5")]}, ["--data", "a", "b=0.5"], "data: [a, b=0.5]"),
        ({"data": {Path("a"): 2}}, ["--data", '{"a": 2}'], "data: {a: 2}"),
        ({"columns": {"lang": "l"}}, ["--columns", '{"lang": "l"}'], "columns: {lang: l}"),
        ({"fit_shrinkage": float("inf")}, ["--fit-shrinkage", "inf"], "fit_shrinkage: .inf"),
        (
            {"tuning": "lora", "lora_merge": False},
            ["--tuning", "lora", "--no_lora_merge"],
            "tuning: lora\nlora_merge: no",
        ),
        ({"report_to": ["tensorboard"]}, ["--report-to", "tensorboard"], "report_to: [tensorboard]"),
        ({"max_rows": None, "seed": 3}, ["--seed", "3"], "max_rows: null\nseed: 3"),
    ],
)
def test_flags_a_recipe_and_python_say_the_same(
    options: dict[str, Any], flags: list[str], recipe: str, tmp_path: Path
) -> None:
    given = asdict(configure_run(REQUIRED | options))
    assert given == asdict(parse_run(["--model", "m", "--data", "d", "--output", "o", *flags]))
    assert given == asdict(of_recipe(tmp_path, recipe))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_steps", "many", "argument --max_steps/--max-steps: invalid int value: 'many'"),
        ("max_steps", 1.5, "argument --max_steps/--max-steps: invalid int value: '1.5'"),
        ("max_steps", [1, 2], "argument --max_steps/--max-steps: expected one argument"),
        ("data", [], "argument --data: expected at least one argument"),
        ("method", "magic", "argument --method: invalid choice: 'magic'"),
        ("no_lora_merge", True, "argument --no_lora_merge/--no-lora-merge: ignored explicit argument 'True'"),
        ("fit_folds", 1, "--fit-folds must be at least 2"),
    ],
)
def test_a_wrong_value_is_told_as_of_a_flag(name: str, value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as python:
        configure_run(REQUIRED | {name: value})
    assert message in str(python.value)
    with pytest.raises(UsageError) as recipe:
        of_recipe(tmp_path, f"{name}: {value}")
    assert str(recipe.value) == str(python.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("align: 4\nalign: 5", "is not YAML ('align' is there twice"),
        ("seed: 2026-99-99", "is not YAML ("),
        (f"seed: {'[' * 5000}", "is not YAML ("),
    ],
)
def test_a_file_that_is_not_yaml_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        of_recipe(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}: {message}")


def test_two_names_of_one_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'max-steps' and 'max_steps' are one option; remove one of them"):
        of_recipe(tmp_path, "max-steps: 4\nmax_steps: 5")


def test_python_may_name_a_recipe_and_overrides_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("max_steps: 7\nseed: 1\n")
    config = configure_run(REQUIRED | {"config": recipe, "seed": 2})
    assert (config.training.max_steps, config.training.seed) == (7, 2)


def test_what_was_left_open_is_settled_with_the_configuration(tmp_path: Path) -> None:
    given = {"output": tmp_path / "out", "tuning": "lora", "seed": 5}
    config = configure_run(REQUIRED | given)
    training = config.training
    assert (training.learning_rate, training.data_seed) == (2e-4, 5)
    assert training.output_dir == str(partial_directory(config.output))
    assert (training.remove_unused_columns, training.prediction_loss_only) == (False, True)
    assert configure_run(REQUIRED | given | {"data_seed": 6, "learning_rate": 1}).training.data_seed == 6


@pytest.mark.training
def test_a_run_leaves_its_configuration_as_it_was(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows())
    options = {"model": base, "data": rows, "output": tmp_path / "out", "max_steps": 1, "use_cpu": True}
    config = configure_run(options | {"disable_tqdm": True})
    before = asdict(config)
    run(config)
    assert asdict(config) == before
