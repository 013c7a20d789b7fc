"""What is read from our syntax trees, on sources made up here."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support import own_code

SOURCE = """
import argparse
from cc_core import names
from transformers import Trainer

class Plain:
    def __init__(self):
        self._mine = 1

class Mixin:
    def _save(self): ...

class Ours(Mixin, Trainer):
    _flag: int = 0

    def use(self, parser, plain):
        self._save(), self._flag, plain._mine, names._ours
        parser._actions
        self._theirs
        super()._inner()
        getattr(parser, "_by_name")
        argparse._HelpAction
"""


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(own_code, "trees", lambda: {"cc_train/made_up.py": ast.parse(SOURCE)})
    own_code.classes.cache_clear()
    yield
    own_code.classes.cache_clear()


def test_private_names_of_others_are_found_and_ours_are_not() -> None:
    assert [touch.name for touch in own_code.touches()] == [
        "_actions",
        "_theirs",
        "_inner",
        "_by_name",
        "_HelpAction",
    ]


def test_a_class_s_ancestors_are_told_apart() -> None:
    own, others = own_code.lineage("cc_train.made_up:Ours")
    assert others == ["transformers:Trainer"]
    assert {"use", "_save"} == set().union(*(ancestor.methods for ancestor in own))


def test_imports_are_symbols() -> None:
    assert own_code.imported_symbols() == {"transformers:Trainer": "cc_train/made_up.py"}
