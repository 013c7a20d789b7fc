"""Check that what we use of another library is still there. One line says what moved, and which of our files use it.

A table, `tests/audits/tables/LIBRARY.txt`, has one entry a line:

- ``module:name(parameters)``: a callable and its parameters in order. ``...`` stands for others that we do not pass.
- ``... or ...``: two of the first form, where two releases have one callable in two places.
- ``module:name has TEXT``: the source of that class or function contains the text.
- ``module has TEXT``: the same for a module's file, which is read and not imported.
"""

from __future__ import annotations

import importlib
import inspect
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.own_code import ROOT, files_that_name

TABLES = ROOT / "tests" / "audits" / "tables"
NOT_LOOKED_AT = "cannot be looked at"
_REST = "..."
_CALLABLE = re.compile(r"([\w.]+:[\w.]+)\(([\w, .]*)\)(?: or (.+))?")
_SOURCE = re.compile(r"([\w.:]+) has (.+)")
_MOST_PLACES = 3


class MovedError(Exception):
    """Something is not where it was; the message is the line to show."""


class NotLookedAtError(MovedError):
    """Something could not be loaded, so nobody knows whether it moved; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One line of a table: a callable with its ``parameters``, or a ``text`` in the symbol's source.

    ``elsewhere`` is the place that the callable has in another release.
    """

    symbol: str
    parameters: tuple[str, ...] | None = None
    text: str | None = None
    elsewhere: Entry | None = None

    @classmethod
    def parse(cls, line: str) -> Entry:
        """Raises ValueError for a line that is neither form."""
        if match := _SOURCE.fullmatch(line):
            return cls(match[1], text=match[2])
        if match := _CALLABLE.fullmatch(line):
            parameters = tuple(name.strip() for name in match[2].split(",") if name.strip())
            return cls(match[1], parameters, elsewhere=cls.parse(match[3]) if match[3] else None)
        raise ValueError(f"{line!r} is neither 'module:name(parameters)' nor 'module:name has TEXT'")

    def __str__(self) -> str:
        if self.parameters is None:
            return f"{self.symbol} has {self.text}"
        return f"{self.symbol}({', '.join(self.parameters)}){f' or {self.elsewhere}' if self.elsewhere else ''}"

    @property
    def library(self) -> str:
        return _library(self.symbol)

    @property
    def name(self) -> str:
        """The last part of the symbol, which our own code spells."""
        return re.split(r"[.:]", self.symbol)[-1]


def lines_of(table: Path) -> list[str]:
    """A table's lines without comments."""
    lines = (line.strip() for line in table.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@cache
def entries(table: str) -> tuple[Entry, ...]:
    """The entries of ``tests/audits/tables/TABLE.txt``."""
    return tuple(map(Entry.parse, lines_of(TABLES / f"{table}.txt")))


@contextmanager
def moved(what: str = "") -> Iterator[None]:
    """Let a test fail with the one line of what is tried within; ``what`` names what else may not load."""
    line = ""
    try:
        yield
    except MovedError as error:
        line = str(error)
    except Exception as error:
        line = f"{what} {NOT_LOOKED_AT} ({_reason(error)})"
    if line:
        raise pytest.fail.Exception(line, pytrace=False) from None


def check(entry: Entry) -> None:
    """Raises `MovedError` where the library no longer has what the entry says."""
    if entry.elsewhere is not None:
        try:
            check(entry.elsewhere)
        except MovedError:
            check(replace(entry, elsewhere=None))
    elif entry.parameters is not None:
        _check_callable(entry, entry.parameters)
    elif ":" in entry.symbol:
        _check_source(entry, _source(entry.symbol))
    else:
        path = _file(entry.symbol)
        if path is None:
            raise MovedError(_line(entry.symbol, f"module {entry.symbol} is gone"))
        _check_source(entry, path.read_text("utf-8"))


def find(symbol: str) -> object:
    """What ``module:name`` names. Raises `MovedError` where it is not there."""
    module, _, path = symbol.partition(":")
    found: object = _load(module, symbol)
    for name in filter(None, path.split(".")):
        try:
            found = getattr(found, name)
        except AttributeError:
            package = found.__name__ if isinstance(found, ModuleType) and hasattr(found, "__path__") else None
            if package is None or find_spec(f"{package}.{name}") is None:
                raise MovedError(_line(symbol, f"{symbol} is gone{_now_in(symbol)}")) from None
            found = _load(f"{package}.{name}", symbol)
        except Exception as error:  # a library may import lazily, and that may fail in any way
            raise NotLookedAtError(_line(symbol, f"{symbol} {NOT_LOOKED_AT} ({_reason(error)})")) from error
    return found


def installed(library: str) -> bool:
    """Whether the library is there to be looked at."""
    return library in sys.stdlib_module_names or any(
        (Path(directory) / name).exists() for directory in _path() for name in (library, f"{library}.py")
    )


def _check_callable(entry: Entry, expected: tuple[str, ...]) -> None:
    function = find(entry.symbol)
    # Decorated methods keep their parameters behind `__wrapped__`, which inspect follows.
    now = tuple(inspect.signature(function).parameters)  # type: ignore[arg-type]
    listed = tuple(name for name in expected if name != _REST)
    gone = [f"parameter {name!r} is gone" for name in listed if name not in now]
    new = [f"parameter {name!r} is new" for name in now if name not in listed] if _REST not in expected else []
    if problems := gone + new:
        raise MovedError(_line(entry.symbol, f"{_short(entry)}: {', '.join(problems)}"))
    if tuple(name for name in now if name in listed) != listed:
        raise MovedError(_line(entry.symbol, f"{_short(entry)}: the order is now {', '.join(now)}"))


def _check_source(entry: Entry, source: str) -> None:
    assert entry.text is not None
    if entry.text not in source:
        raise MovedError(_line(entry.symbol, f"{entry.symbol} no longer has {entry.text!r}", entry.text))


def _source(symbol: str) -> str:
    found = find(symbol)
    try:
        return inspect.getsource(found)  # type: ignore[arg-type]
    except (OSError, TypeError) as error:
        raise NotLookedAtError(_line(symbol, f"{symbol} {NOT_LOOKED_AT} ({_reason(error)})")) from error


def _load(module: str, symbol: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise MovedError(_line(symbol, f"{symbol} is gone{_now_in(symbol)}")) from error
        raise NotLookedAtError(_line(symbol, f"{symbol} {NOT_LOOKED_AT} ({_reason(error)})")) from error
    except Exception as error:  # compiled parts that are not there fail in many ways
        raise NotLookedAtError(_line(symbol, f"{symbol} {NOT_LOOKED_AT} ({_reason(error)})")) from error


def _now_in(symbol: str) -> str:
    """``; now in MODULE`` for modules of the same library that define the name."""
    name = re.split(r"[.:]", symbol)[-1]
    definition = re.compile(rf"^(?:\s*(?:async )?(?:def|class) {name}\b|{name}\s*[:=])", re.MULTILINE)
    places = [module for module, text in _texts(_library(symbol)) if name in text and definition.search(text)]
    more = f" and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
    return f"; now in {', '.join(places[:_MOST_PLACES])}{more}" if places else ""


def _texts(library: str) -> Iterator[tuple[str, str]]:
    """Every module of a library and its text."""
    package = _file(library)
    for path in sorted(package.parent.rglob("*.py")) if package and package.name == "__init__.py" else ():
        parts = path.relative_to(package.parent.parent).with_suffix("").parts  # type: ignore[union-attr]
        yield ".".join(parts).removesuffix(".__init__"), path.read_text("utf-8", errors="replace")


def _file(module: str) -> Path | None:
    """A module's file, found without importing the packages around it."""
    for directory in _path():
        place = Path(directory) / module.replace(".", "/")
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if path.exists():
                return path
    return None


def _path() -> list[str]:
    # `make deepspeed` installs apart from the environment.
    return [*(directory or "." for directory in sys.path), str(ROOT / ".tools" / "deepspeed")]


def _short(entry: Entry) -> str:
    return str(entry).partition(":")[2]


def _line(symbol: str, what: str, names: str | None = None) -> str:
    """The one line: which release, what, and which of our files use it."""
    words = re.findall(r"[A-Za-z_]\w{3,}", names or symbol.split(".")[-1].split(":")[-1])
    files = next((files for word in words if word != "self" and (files := files_that_name(word))), [])
    used = f" (used in {', '.join(files[:_MOST_PLACES])})" if files else ""
    return f"{release(_library(symbol))}: {what}{used}"


def release(library: str) -> str:
    """A library's name and version."""
    if library in sys.stdlib_module_names:
        return f"Python {platform.python_version()}"
    version = getattr(sys.modules.get(library), "__version__", None)
    try:
        return f"{library} {version or metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return library


def _library(symbol: str) -> str:
    return re.split(r"[.:]", symbol)[0]


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
