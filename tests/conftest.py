"""What several kinds of tests share: the real base model, converted once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_train.model.base_models import DEFAULT, make_base


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 270M as ``cc-train base`` makes it, never a copy that an earlier version of the code left behind."""
    directory = tmp_path_factory.mktemp("models") / DEFAULT
    assert make_base(DEFAULT, directory)
    return directory
