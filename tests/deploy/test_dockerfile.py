"""The Dockerfile by its text; building it needs what this suite does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.deploy.programs import ROOT, output_of

DOCKERFILE = ROOT / "Dockerfile"


def test_hadolint_finds_nothing_to_complain_about() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: `make install` does it")
    output_of(hadolint, DOCKERFILE)


@pytest.mark.parametrize("needed", ["STOPSIGNAL SIGTERM", "HEALTHCHECK", "USER 10001:10001", "AS cpu", "AS cuda"])
def test_the_image_says_how_it_is_run(needed: str) -> None:
    assert needed in DOCKERFILE.read_text("utf-8")
