"""What the README tells a reader to type is what `make run` prints, and that is what the end-to-end test runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tools import demo

ROOT = Path(demo.__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8000"


def test_the_snippet_is_the_demos() -> None:
    assert f"```python\n{demo.snippet(ADDRESS)}```" in README


def test_the_curl_line_is_the_demos() -> None:
    block = next(text for text in README.split("```bash\n") if text.startswith("curl -i")).split("```")[0]
    assert shlex.split(block.replace("\\\n", "")) == shlex.split(demo.curl_line(ADDRESS))


def test_the_answer_is_that_of_the_held_out_rows() -> None:
    rows = map(json.loads, (ROOT / demo.HELD_OUT).read_text("utf-8").splitlines())
    (answer,) = [row["output"] for row in rows if row["instruction"] == demo.SWAHILI]
    assert f"That of Genovia is {answer}:" in README
    assert f"The right answer is {answer}." in (ROOT / "docs" / "index.md").read_text("utf-8")


def test_the_recipe_trains_the_base_that_the_demo_makes() -> None:
    assert f"model: {demo.BASE}\n" in (ROOT / demo.RECIPE).read_text("utf-8")


@pytest.mark.parametrize(
    "target",
    [
        *(
            "install",
            "run",
            "test",
            "lint",
            "format",
            "docs",
            "notebook",
            "lock",
            "loadtest",
            "deploy-tools",
            "browser",
        ),
        *("image-test", "clean"),
    ],
)
def test_every_make_target_is_explained(target: str) -> None:
    assert f"\n{target}:" in (ROOT / "Makefile").read_text("utf-8")
    assert f"make {target}" in (ROOT / "docs" / "contributing.md").read_text("utf-8")


def test_the_make_targets_are_those_that_are_explained() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    declared = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    targets = {target for line in declared for target in line.split()}
    explained = set(re.findall(r"`make ([a-z0-9-]+)", (ROOT / "docs" / "contributing.md").read_text("utf-8")))
    assert targets == explained


def test_what_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
    assert len(links) > 15


def test_it_fits_on_two_screens() -> None:
    assert len(README.splitlines()) <= 120
