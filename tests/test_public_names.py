"""``from cc_train import ...`` and ``from cc_serve import ...``: few names, documented, and loaded only when used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cc_serve
import cc_train
from cc_train import load_connection, train
from tests.support.paths import ROOT
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


@pytest.mark.parametrize("package", ["cc_serve", "cc_train"])
def test_importing_loads_nothing_else(package: str) -> None:
    program = (
        f"import sys, {package}; print(sorted(name for name in sys.modules if name in ('torch', 'numpy', 'vllm')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [cc_serve, cc_train], ids=["cc_serve", "cc_train"])
def test_every_name_is_there_and_documented(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        found = getattr(package, name)
        assert found.__doc__, name
        assert found.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", [cc_serve, cc_train], ids=["cc_serve", "cc_train"])
def test_type_checkers_are_told_that_there_are_types(package: ModuleType) -> None:
    assert (Path(str(package.__file__)).parent / "py.typed").is_file()
    assert '"py.typed"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_a_submodule_is_still_a_submodule() -> None:
    assert importlib.import_module("cc_train.training.run") is sys.modules["cc_train.training.run"]


def test_train_takes_the_options_of_the_command(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows())
    heard: list[str] = []
    options = {"max_steps": 1, "use_cpu": True, "disable_tqdm": True, "fit_min_pairs": 20, "eval_data": None}
    result = train(model=base, data=[rows, rows], output=tmp_path / "out", say=heard.append, **options)
    assert result.examples == {"de": 64, "fr": 64}
    assert load_connection(result.directory)[0].names == ("global", "de", "fr")
    assert heard
    with pytest.raises(ValueError, match=r"unknown option --max-stesp; did you mean --max-steps\?"):
        train(model=base, data=rows, output=tmp_path / "other", max_stesp=1)


def test_train_takes_dictionaries_where_a_recipe_has_mappings(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(
        tmp_path / "rows.jsonl", ({**row, "lang": "", "language": row["lang"]} for row in word_rows(copies=1))
    )
    options = {
        "columns": {"lang": "language"},
        "lr_scheduler_type": "cosine_with_restarts",
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "eval_data": {rows: 0.5},
        "eval_strategy": "steps",
    }
    result = train(
        model=base, data={rows: 2}, output=tmp_path / "out", max_steps=1, use_cpu=True, disable_tqdm=True, **options
    )
    assert result.examples == {"de": 16, "fr": 16}, "each row twice"
    assert json.loads((result.directory / "cc_run.json").read_text())["data"] == ["rows.jsonl × 2"]


def test_a_router_of_a_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_llama(), random_connection(["global", "de"]), ["de", "fr"])
    router = cc_serve.Router.of(tmp_path)
    assert router.route(["Wo ist der Bahnhof, bitte?"]).connection == "de"
    assert router.connected == {"de": "de", "fr": "global"}
