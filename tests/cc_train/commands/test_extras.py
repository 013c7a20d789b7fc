"""``cc-train`` where only the server's packages are installed, and its version."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest

from cc_train.commands import extras
from cc_train.commands.main import main


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cc-train {version('cc-serve')}\n"


def test_packages_that_are_not_installed_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["numpy>=2", 'no-such-package>=1; extra == "train"', 'torch; extra == "train"', 'other; extra == "docs"']
    monkeypatch.setattr(extras, "requires", lambda _name: wanted)
    monkeypatch.setitem(sys.modules, "cc_train.commands.run", None)
    assert main(["run"]) == 2
    assert capsys.readouterr().err == 'cc-train: no-such-package not installed: pip install "cc-serve[train]"\n'


def test_another_import_that_fails_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "requires", lambda _name: ['torch; extra == "train"'])
    monkeypatch.setitem(sys.modules, "cc_train.commands.run", None)
    with pytest.raises(ImportError):
        main(["run"])
