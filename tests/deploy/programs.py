"""Programs that the tests of deployment run. None is a Python package; tools/deploy_tools.sh fetches them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
FETCHED = ROOT / ".tools"


def program(name: str) -> str:
    """The path of a program that is fetched or installed. Where there is none, the test is skipped."""
    path = shutil.which(name, path=str(FETCHED / "bin")) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: `make deploy-tools` fetches it")
    return path


def output_of(*command: str | Path, accepted: bool = True) -> str:
    """What a command writes to both streams. It has to succeed if it is ``accepted``, and to fail otherwise."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert (done.returncode == 0) == accepted, done.stdout
    return done.stdout
