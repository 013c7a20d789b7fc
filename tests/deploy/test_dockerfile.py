"""The text of the Dockerfile, and the locked requirements. `tools/image_test.sh` builds and runs the image."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.programs import output_of
from tests.support.paths import ROOT
from tests.support.programs import installed

DOCKERFILE = ROOT / "Dockerfile"


def test_hadolint_finds_nothing_to_complain_about() -> None:
    hadolint = Path(installed("hadolint"))
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: `make install` does it")
    output_of(hadolint, DOCKERFILE)


def locked(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("name", [path.name for path in (ROOT / "requirements").glob("*.lock")])
def test_every_package_is_locked_with_a_hash(name: str) -> None:
    """pip refuses a list of which only a part has hashes."""
    bare = [line for line in locked(name) if not re.fullmatch(r"[a-z0-9-]+==\S+ --hash=sha256:[0-9a-f]{64}", line)]
    assert bare == [], "python tools/lock.py --keep"


def test_a_server_has_what_was_tested() -> None:
    assert set(locked("serve.lock")) < set(locked("cpu.lock"))


@pytest.mark.parametrize("patch", [0, 2, 99])
def test_the_lock_is_for_every_python_of_the_minor_release(patch: int) -> None:
    """It is made on one of them: Debian 12's is 3.11.2."""
    names = {line.split("==")[0] for line in locked("serve.lock")}
    required = [
        Requirement(line) for d in distributions() if canonicalize_name(d.name) in names for line in d.requires or ()
    ]
    environment = {"python_full_version": f"3.11.{patch}", "extra": ""}
    wanted = {
        canonicalize_name(one.name)
        for one in required
        if one.marker and "python_full_version" in str(one.marker) and one.marker.evaluate(environment)
    }
    assert wanted <= names


@pytest.mark.parametrize("needed", ["STOPSIGNAL SIGTERM", "HEALTHCHECK", "USER 10001:10001", "AS cpu", "AS cuda"])
def test_the_image_says_how_it_is_run(needed: str) -> None:
    assert needed in DOCKERFILE.read_text("utf-8")
