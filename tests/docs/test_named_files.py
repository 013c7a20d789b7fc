"""Every file, folder and module that a page names exists, so that moving one fails here and not at a reader's desk."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# The folders of the repository itself; models/ and outputs/ are what commands write.
FOLDERS = (
    *("benchmarks", "cc_core", "cc_serve", "cc_train", "deploy", "docs"),
    *("experiments", "loadtests", "recipes", "requirements", "tests", "tools"),
)
# Words in capitals, as in docs/results/SYSTEM-SEED.json, stand for something and are no names.
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/(?:[a-z0-9_./-]|README)*(?![A-Z*<{{])")
MODULE = re.compile(rf"-m(?:odule)? ((?:{'|'.join(FOLDERS)})(?:\.\w+)+)")
# A Python file without its folder, as in `rows.py`. It may stand before a test's name, as in `test_lora.py::test_rank`.
BARE = re.compile(r"(?<![\w./-])[A-Za-z_]\w*\.py(?!\w)")
PAGES = sorted(
    [
        *(page for page in ROOT.glob("*.md") if page.name != "CHANGELOG.md"),  # which also tells of what was
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "recipes").rglob("*.yaml"),
        *(ROOT / "deploy").rglob("*.yaml"),
        ROOT / "Makefile",
    ]
)


@cache
def python_files() -> frozenset[str]:
    """The name of every Python file in the repository's folders."""
    return frozenset(file.name for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def missing(text: str) -> set[str]:
    """What ``text`` names and the repository does not have."""
    paths = {found.rstrip("./-") for found in PATH.findall(text)}
    modules = set(MODULE.findall(text))
    return (
        {path for path in paths if not (ROOT / path).exists()}
        | {module for module in modules if importlib.util.find_spec(module) is None}
        | (set(BARE.findall(text)) - python_files())
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    assert missing(page.read_text("utf-8")) == set()


def test_a_file_that_moved_is_found() -> None:
    text = "`cc_train/fit.py`, tests/cc_core, `python -m loadtests.stub`; docs/results/SYSTEM-SEED.json is a pattern."
    assert missing(text) == {"cc_train/fit.py", "loadtests.stub"}


def test_a_bare_name_that_no_file_has_is_found() -> None:
    text = "`no_such_fields.py` beside `limits.py`, `test_no_such.py::test_it`, https://example.org/o.py and `rows.pyc`"
    assert missing(text) == {"no_such_fields.py", "test_no_such.py"}
