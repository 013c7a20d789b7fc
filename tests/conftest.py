"""What several kinds of tests share: the real base model, converted once, and one real server over a tiny one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_train.model.base_models import DEFAULT, make_base
from tests.support.server import checkpoint as checkpoint
from tests.support.server import server as server


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 270M as ``cc-train base`` makes it, never a copy that an earlier version of the code left behind."""
    directory = tmp_path_factory.mktemp("models") / DEFAULT
    assert make_base(DEFAULT, directory)
    return directory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that stops the shared server comes last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: stops the shared server")
