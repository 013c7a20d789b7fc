"""What our own code uses of other libraries, read from its syntax trees: imports, subclasses and private names."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("cc_core", "cc_serve", "cc_train", "benchmarks", "experiments", "loadtests", "tools")
# Of the standard library: the underscore keeps a field's name free, or warns.
_DOCUMENTED = {"_asdict", "_exit", "_fields", "_replace"}
_BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


@dataclass
class OwnClass:
    """A class of ours.

    Args:
        path: of its file.
        bases: symbols as ``module:name``, ours and others'.
        members: names that its body or its methods set.
        methods: the functions among them.
    """

    path: str
    bases: list[str]
    members: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Touch:
    """A private name that is used at a place of our code and that no class of ours defines."""

    place: str
    name: str
    expression: str


@cache
def texts() -> dict[str, str]:
    """Our files' texts by path."""
    paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


@cache
def trees() -> dict[str, ast.Module]:
    """Our files' syntax trees by path."""
    return {path: ast.parse(text) for path, text in texts().items()}


@cache
def files_that_name(word: str) -> list[str]:
    """Our files that contain a word."""
    pattern = re.compile(rf"\b{re.escape(word)}\b")
    return [path for path, text in texts().items() if word in text and pattern.search(text)]  # `in` is far quicker


def is_ours(symbol: str) -> bool:
    return re.split(r"[.:]", symbol)[0] in FOLDERS


def is_private(name: str) -> bool:
    return name.startswith("_") and name not in _DOCUMENTED and not (name.startswith("__") and name.endswith("__"))


def imports(tree: ast.AST) -> dict[str, str]:
    """What a file imports, wherever in it: the name that it has there, and ``module`` or ``module:name``."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
    return found


def imported_symbols() -> dict[str, str]:
    """Every ``module:name`` that our code imports from others, and a file that does."""
    found: dict[str, str] = {}
    for path, tree in trees().items():
        for symbol in imports(tree).values():
            if ":" in symbol and not is_ours(symbol):
                found.setdefault(symbol, path)
    return found


@cache
def classes() -> dict[str, OwnClass]:
    """Our classes by ``module:name``."""
    found: dict[str, OwnClass] = {}
    for path, tree in trees().items():
        names, module = imports(tree), _module(path)
        local = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                own = found[f"{module}:{node.name}"] = OwnClass(path, [])
                for base in node.bases:
                    own.bases.append(_symbol(base, names, local, module))
                _members(node, own)
    return found


def lineage(symbol: str) -> tuple[list[OwnClass], list[str]]:
    """A class of ours with the ancestors that are ours, and the symbols of the others' classes that they extend."""
    own, others, todo = [], [], [symbol]
    while todo:
        current = classes().get(todo.pop())
        if current is None:
            continue
        own.append(current)
        todo += [base for base in current.bases if base in classes()]
        others += [base for base in current.bases if base not in classes()]
    return own, others


def touches() -> Iterator[Touch]:
    """The private names of others that our code uses, overridden methods apart."""
    pure = set[str]().union(*(own.members for name, own in classes().items() if _extends_nobody(name)))
    for path, tree in trees().items():
        names = imports(tree)
        for node, enclosing in _with_class(tree, _module(path)):
            name, value = _private_access(node)
            if name is None:
                continue
            owner = ast.unparse(value)
            if owner in ("self", "cls", "super()", "type(self)") and enclosing in classes():
                mine = set[str]().union(*(own.members for own in lineage(enclosing)[0]))
            else:
                mine = pure
            head = names.get(owner.split(".")[0])
            if name not in mine and not (head and is_ours(head)):
                yield Touch(f"{path}:{node.lineno}", name, ast.unparse(node))  # type: ignore[attr-defined]


def _private_access(node: ast.AST) -> tuple[str | None, ast.expr]:
    if isinstance(node, ast.Attribute) and is_private(node.attr):
        return node.attr, node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
        owner, name = node.args[:2]
        if isinstance(name, ast.Constant) and is_private(str(name.value)):
            return str(name.value), owner
    return None, ast.Constant(None)


def _extends_nobody(name: str) -> bool:
    return all(base.startswith(("builtins:", "typing:", "enum:")) for base in lineage(name)[1])


def _with_class(node: ast.AST, module: str, enclosing: str = "") -> Iterator[tuple[ast.AST, str]]:
    for child in ast.iter_child_nodes(node):
        inner = f"{module}:{child.name}" if isinstance(child, ast.ClassDef) else enclosing
        yield child, inner
        yield from _with_class(child, module, inner)


def _members(node: ast.ClassDef, own: OwnClass) -> None:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            own.methods.add(statement.name)
        for target in [getattr(statement, "target", None), *getattr(statement, "targets", [])]:
            if isinstance(target, ast.Name):
                own.members.add(target.id)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and ast.unparse(inner.value) == "self":
            own.members.add(inner.attr)
    own.members |= own.methods


def _symbol(base: ast.expr, names: dict[str, str], local: set[str], module: str) -> str:
    """``module:name`` of a base class as it is written."""
    while isinstance(base, ast.Subscript):
        base = base.value
    head, *rest = ast.unparse(base).split(".")
    if head in local:
        return f"{module}:{head}"
    if head not in names:
        return f"builtins:{head}" if hasattr(builtins, head) else f"{module}:{head}"
    symbol = names[head]
    return ".".join([symbol, *rest]) if ":" in symbol else f"{symbol}:{'.'.join(rest)}"


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
