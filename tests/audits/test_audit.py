"""The audit itself: each way in which a symbol can move gives one line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import audit
from tests.support.audit import Entry, MovedError, NotLookedAtError, check, find


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up library, first on the path."""
    package = tmp_path / "made_up_library"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "5.0"\n')
    (package / "trainer.py").write_text(
        "class Trainer:\n    def save(self, model, trial):\n        self.best = model\n\ndef rotate(a, b):\n    pass\n"
    )
    (package / "new_home.py").write_text("def moved_away():\n    pass\n")
    (package / "compiled.py").write_text("import made_up_library_without_its_compiled_part\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(audit, "files_that_name", lambda word: ["cc_train/x.py"] if word == "save" else [])
    return package


@pytest.mark.parametrize(
    "line",
    [
        "made_up_library.trainer:Trainer.save(self, model, trial)",
        "made_up_library.trainer:Trainer.save(self, model, ...)",
        "made_up_library.trainer:moved_away() or made_up_library.new_home:moved_away()",
        "made_up_library.new_home:moved_away() or made_up_library.a_newer_home:moved_away()",
        "made_up_library.trainer:Trainer has self.best =",
        "made_up_library.compiled has import made_up",  # read, not imported
    ],
)
def test_what_stayed_is_silent(library: Path, line: str) -> None:
    check(Entry.parse(line))
    assert str(Entry.parse(line)) == line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "made_up_library.trainer:Trainer.save(self, model, trial, metrics)",
            "made_up_library 5.0: Trainer.save(self, model, trial, metrics): parameter 'metrics' is gone "
            "(used in cc_train/x.py)",
        ),
        (
            "made_up_library.trainer:Trainer.save(self, model)",
            "made_up_library 5.0: Trainer.save(self, model): parameter 'trial' is new (used in cc_train/x.py)",
        ),
        (
            "made_up_library.trainer:rotate(b, a)",
            "made_up_library 5.0: rotate(b, a): the order is now a, b",
        ),
        (
            "made_up_library.trainer:moved_away()",
            "made_up_library 5.0: made_up_library.trainer:moved_away is gone; now in made_up_library.new_home",
        ),
        (
            "made_up_library.trainer:moved_away() or made_up_library.removed:moved_away()",
            "made_up_library 5.0: made_up_library.trainer:moved_away is gone; now in made_up_library.new_home",
        ),
        (
            "made_up_library.removed:moved_away()",
            "made_up_library 5.0: made_up_library.removed:moved_away is gone; now in made_up_library.new_home",
        ),
        (
            "made_up_library.trainer:Trainer has self.worst",
            "made_up_library 5.0: made_up_library.trainer:Trainer no longer has 'self.worst'",
        ),
        ("made_up_library.removed has x", "made_up_library 5.0: module made_up_library.removed is gone"),
    ],
)
def test_what_moved_gives_one_line(library: Path, line: str, message: str) -> None:
    find("made_up_library:__version__")
    with pytest.raises(MovedError) as raised:
        check(Entry.parse(line))
    assert str(raised.value) == message


def test_what_cannot_be_loaded_says_why(library: Path) -> None:
    with pytest.raises(
        NotLookedAtError, match=r"^made_up_library 5.0: made_up_library.compiled:f cannot be looked at "
    ):
        check(Entry.parse("made_up_library.compiled:f(x)"))


@pytest.mark.parametrize("line", ["no symbol", "module(parameters)", "module:name("])
def test_a_line_of_neither_form_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is neither"):
        Entry.parse(line)
