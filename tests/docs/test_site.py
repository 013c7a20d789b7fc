"""The documentation builds without a warning, and its reference knows what the code has."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from transformers import TrainingArguments

from cc_serve.api.tenants.limiter import RUNNING
from cc_serve.config.configuration import Budget, KeyLimits
from cc_train.commands.main import COMMANDS
from cc_train.config.run import make_parser
from tests.support.paths import ROOT
from tools import reference


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        build(load_config("mkdocs.yml", site_dir=str(directory)))  # strict: a warning ends it
    return directory


def test_every_page_is_there(site: Path) -> None:
    for page in ("index", "concepts", "how-to/train", "reference/commands", "reference/http", "notebooks/cc_tuning"):
        assert (site / f"{page}.html").is_file()
    assert (site / "images" / "training.svg").is_file()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"?(https?:[^\" >]+)", page.read_text("utf-8"))
        assert [address for address in loaded if "rel=" not in address] == [], page


def test_the_servers_own_operations_are_described(site: Path) -> None:
    description = json.loads((site / "reference" / "openapi.json").read_text("utf-8"))
    assert {"/v1/route", "/v1/languages", "/ready", "/admin/reload", "/v1/chat/completions"} <= set(
        description["paths"]
    )


def test_every_command_and_option_is_in_the_reference() -> None:
    commands = reference.commands()
    for name in COMMANDS:
        assert f"## `cc-train {name}`" in commands
    recipe = reference.recipe()
    keys = {reference._key(action) for action in make_parser()._actions if action.dest not in ("help", "config")}
    assert {key for key in keys if f"| `{key}` |" not in recipe} == set()


def test_every_option_of_transformers_is_in_its_table() -> None:
    page = reference.transformers_options()
    assert [
        f.name for f in fields(TrainingArguments) if f"| `--{f.name.replace('_', '-')}` |" not in page if f.init
    ] == []


def test_the_page_of_the_metrics_names_each_limit() -> None:
    row = re.search(r"^\| `limit` \|.*$", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.MULTILINE)
    assert row
    code = "".join(path.read_text("utf-8") for path in (ROOT / "cc_serve" / "api").rglob("*.py"))
    counted = re.findall(r'(?:count_limit|Excess|Refusal)\(\s*"(\w+)"', code)
    assert {"headers", "deadline", "sequences", "store"} < {*counted}
    names = {*counted, *(KeyLimits.model_fields.keys() - {"budget"}), *Budget.model_fields, RUNNING}
    assert {name for name in names | {"choices", "output_tokens"} if f"`{name}`" not in row[0]} == set()


def test_the_page_of_the_metrics_names_each() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    declared = re.findall(r"^\| `(cc:\w+)` \|", reference.metrics(), re.MULTILINE)
    assert len(declared) > 5
    assert [name for name in declared if f"`{name}`" not in page] == []
