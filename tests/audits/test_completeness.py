"""No table is short of an entry: what our code overrides or touches of other libraries, a table lists."""

from __future__ import annotations

import inspect
import re
from functools import cache

import pytest

from tests.support.audit import TABLES, Entry, entries, find, installed
from tests.support.own_code import classes, imported_symbols, is_private, lineage, touches

# Classes that are made to be extended, by methods that their libraries document.
_MADE_TO_BE_EXTENDED = {"builtins", "collections", "enum", "locust", "pydantic", "torch", "typing"}
# Modules whose functions their library keeps for itself, or says little of; of vLLM, all.
_INTERNAL = re.compile(
    r"vllm\b|transformers\.(trainer|trainer_utils|trainer_pt_utils|integrations)\b|uvicorn\.protocols\b"
    r"|py3langid\.langid\b"
)


@cache
def listed() -> tuple[Entry, ...]:
    return tuple(entry for table in sorted(TABLES.glob("*.txt")) for entry in entries(table.stem))


@cache
def words() -> frozenset[str]:
    """Every name that a table has."""
    return frozenset(word for entry in listed() for word in re.findall(r"\w+", str(entry)))


def missing_overrides() -> list[str]:
    """Methods of ours that take the place of another library's, and that no table lists."""
    found = []
    for name in classes():
        own, others = lineage(name)
        for symbol in others:
            library = Entry(symbol).library
            if library in _MADE_TO_BE_EXTENDED or not installed(library):
                continue
            base = find(symbol)
            assert inspect.isclass(base), symbol
            for ancestor in own:
                for method in sorted(ancestor.methods):
                    if _is_audited(method) and _owners(base, method) and not _is_listed(base, method):
                        found.append(f"{ancestor.path} overrides {symbol}.{method}, which no table lists")
    return sorted(set(found))


def _is_audited(method: str) -> bool:
    return method in ("__init__", "__post_init__") or not method.startswith("__")


def _owners(base: type, method: str) -> list[str]:
    """The classes that define the method for ``base``."""
    return [c.__name__ for c in base.__mro__ if method in vars(c) and c is not object]


def _is_listed(base: type, method: str) -> bool:
    """Whether an entry names the method of this class, or of one that it extends."""
    owners = _owners(base, method)
    for entry in listed():
        owner, _, name = entry.symbol.partition(":")[2].rpartition(".")
        if (owner in owners and name == method) or (name in owners and f"def {method}(" in (entry.text or "")):
            return True
    return False


def fail_for(missing: list[str]) -> None:
    """One line for each."""
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


def test_every_override_is_listed() -> None:
    fail_for(missing_overrides())


def test_every_private_name_is_listed() -> None:
    missing = [
        f"{touch.place} uses {touch.expression}, a private name of another library that no table lists"
        for touch in touches()
        if touch.name not in words()
    ]
    fail_for(missing)


def test_every_private_import_is_listed() -> None:
    missing = [
        f"{path} imports {symbol}, which is private and which no table lists"
        for symbol, path in imported_symbols().items()
        if symbol != "__future__:annotations"
        and any(is_private(part) for part in re.split(r"[.:]", symbol))
        and symbol not in {entry.symbol for entry in listed()}
    ]
    fail_for(missing)


def test_every_internal_function_is_listed() -> None:
    names = {entry.symbol for entry in listed()}
    missing = [
        f"{path} imports the function {symbol}, which no table lists"
        for symbol, path in imported_symbols().items()
        if _INTERNAL.match(symbol) and symbol not in names and inspect.isroutine(find(symbol))
    ]
    fail_for(missing)
